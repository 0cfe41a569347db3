/** A cleanup as HTTP and the command line show it. */
import type { CleanupView, VerdictView } from '../../api/cleanup-api.ts';
import type { Stamp } from '../../core/ids.ts';
import type { Verdict } from '../../core/workers/cleanup-verdict.ts';
import type { CleanupPlan } from '../../ports/cleanup-plans.ts';
import type { Ended, EndOutcome } from '../../ports/process-table.ts';

/** The worst outcome first. A tree has the worst outcome of its processes. */
const WORST_FIRST: readonly EndOutcome[] = ['survived', 'denied', 'changed', 'ended', 'gone'];

export function cleanupView(
  { plan, ended, appeared }: { plan: CleanupPlan; ended: readonly Ended[]; appeared: readonly Verdict[] },
  run: {
    readonly dryRun: boolean;
    readonly remarks: readonly string[];
    readonly scanned: number;
    readonly tookMs: number;
    readonly now: Stamp;
  },
): CleanupView {
  const outcomes = new Map(ended.map((one) => [one.pid, one.outcome]));
  return {
    dryRun: run.dryRun,
    plan: plan.id,
    verdicts: plan.verdicts.map((one) => verdictView(one, { outcomes, now: run.now })),
    appeared: appeared.map((one) => verdictView(one, { outcomes: new Map(), now: run.now })),
    remarks: [...run.remarks],
    scanned: run.scanned,
    tookMs: Math.round(run.tookMs * 10) / 10,
  };
}

function verdictView(
  { kind, action, why, workerId, session, room, members, instance }: Verdict,
  { outcomes, now }: { outcomes: ReadonlyMap<number, EndOutcome>; now: Stamp },
): VerdictView {
  const [first] = members;
  const connections = members.map((one) => one.livekit);
  const found = members.flatMap((one) => outcomes.get(one.pid) ?? []);
  return {
    pid: first?.pid ?? 0,
    startedAt: new Date(now.wallMs - (first?.ageMs ?? 0)).toISOString(),
    session,
    room,
    worker: workerId,
    instance: instance?.id ?? null,
    stateDir: instance?.stateDir ?? null,
    kind,
    action,
    why,
    command: first?.command ?? '',
    ageMs: Math.round(first?.ageMs ?? 0),
    rssBytes: members.reduce((sum, one) => sum + one.rssBytes, 0),
    livekit: connections.every((one) => one === null) ? null : connections.includes(true),
    tree: members.map((one) => one.pid),
    processes: members.map(({ pid, command }) => ({ pid, command, outcome: outcomes.get(pid) ?? null })),
    outcome: WORST_FIRST.find((one) => found.includes(one)) ?? null,
  };
}
