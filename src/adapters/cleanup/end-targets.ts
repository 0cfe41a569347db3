/**
 * Ends exactly the processes that a plan names: TERM to the main processes, TERM to what they left, KILL.
 * A process with another identity than in the plan gets no signal.
 */

import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import type { InstanceId, WorkerId } from '../../core/ids.ts';
import { workerId } from '../../core/ids.ts';
import { terminateSteps } from '../../core/teardown/steps.ts';
import type { ListedProcess, Verdict } from '../../core/workers/cleanup-verdict.ts';
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import type { Ended, EndOutcome } from '../../ports/process-table.ts';
import type { Aim, Shot } from '../../process/checked-signal.ts';
import { signalMember } from '../../process/checked-signal.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { findAlive } from '../../process/proc-files.ts';
import type { Self } from '../../process/process-tree.ts';
import { shownCommandOf } from './shown-command.ts';

interface Means {
  readonly proc: ProcTable;
  readonly markPrefix: string;
  readonly self: Self;
  readonly groupOf: (id: WorkerId) => string | null;
}

interface Target {
  readonly member: ListedProcess;
  readonly aim: Aim;
  shot: Shot | null;
  /** No other process of the target's worker is its parent. The head ends its descendants in its own order. */
  readonly isHead: boolean;
}

export async function endTargets(
  plan: readonly Pick<Verdict, 'workerId' | 'members' | 'instance'>[],
  means: Means,
): Promise<Ended[]> {
  const targets = plan.flatMap(({ workerId: id, members, instance }) => {
    const around = instance === undefined ? means : elsewhere(instance.id, means);
    const workers = new Set(members.filter((one) => one.evidence !== 'shim').map((one) => one.pid));
    return members.map((member): Target => {
      const isHead = !workers.has(means.proc.stat(member.pid)?.ppid ?? 0);
      return { member, aim: aimAt(member, id, around), shot: null, isHead };
    });
  });
  const before = new Map(targets.map((one) => [one, stateOf(one, means)]));
  const there = targets.filter((one) => before.get(one) === 'there');
  const workers = there.filter((one) => one.member.evidence !== 'shim');
  const { term, rest, kill } = terminateSteps({ termMs: CLEANUP.termMs, killMs: CLEANUP.killMs / 2 });
  const heads = workers.filter((one) => one.isHead);
  await strike(heads, term.signal, means);
  const waitedMs = await allGone(heads, means, term.boundMs);
  await strike(
    workers.filter((one) => !one.isHead),
    rest.signal,
    means,
  );
  await allGone(workers, means, term.boundMs - waitedMs + rest.boundMs);
  await strike(workers, kill.signal, means);
  // When its worker is gone, a shim writes the status and exits without a signal.
  await allGone(there, means, kill.boundMs);
  await strike(there, kill.signal, means);
  await allGone(there, means, kill.boundMs);
  return targets.map((one) => {
    const { pid, startTicks } = one.member;
    const seen = before.get(one) ?? 'gone';
    return { pid, startTicks, outcome: seen === 'there' ? outcomeOf(one, means) : seen };
  });
}

/** For a worker of another instance. Its cgroup is not known. */
function elsewhere(id: InstanceId, means: Means): Means {
  return { ...means, markPrefix: `CURFEW_WORKER=${id}/`, groupOf: () => null };
}

function aimAt(member: ListedProcess, id: WorkerId | null, { markPrefix, self, groupOf }: Means): Aim {
  const shim = { bootId: '', pid: member.leader ?? member.pid, startTicks: 0 };
  return { workerId: id ?? workerId(''), shim, markPrefix, cgroup: id === null ? null : groupOf(id), self };
}

/** `changed`: another process has the pid now, or an unmanaged process runs another command than the plan shows. */
function stateOf({ member }: Target, { proc }: Means): 'there' | 'gone' | 'changed' {
  if (findAlive(proc, member) !== null) return isAsSeen(member, proc) ? 'there' : 'changed';
  const now = proc.stat(member.pid);
  return now === null || now.startTicks === member.startTicks ? 'gone' : 'changed';
}

/** An unmanaged process is a target only by its command. An exec keeps the identity but changes the command. */
function isAsSeen(member: ListedProcess, proc: ProcTable): boolean {
  return member.evidence !== 'pattern' || shownCommandOf(proc, member.pid) === member.command;
}

const STRIKES_PER_TURN = 100;

async function strike(
  targets: readonly Target[],
  signal: 'SIGTERM' | 'SIGKILL',
  { proc }: Means,
): Promise<void> {
  for (const [index, one] of targets.entries()) {
    if (index % STRIKES_PER_TURN === STRIKES_PER_TURN - 1) await setTimeout(0);
    if (findAlive(proc, one.member) === null) continue;
    one.shot = isAsSeen(one.member, proc) ? signalMember(proc, one.aim, one.member, signal) : 'gone';
  }
}

/** Returns how long it waited. */
async function allGone(targets: readonly Target[], { proc }: Means, boundMs: number): Promise<number> {
  const startedMs = performance.now();
  const untilMs = startedMs + boundMs;
  const alive = () => targets.some((one) => one.shot !== 'denied' && findAlive(proc, one.member) !== null);
  while (alive() && performance.now() < untilMs) await setTimeout(CLEANUP.checkMs);
  return Math.min(boundMs, performance.now() - startedMs);
}

function outcomeOf(one: Target, { proc }: Means): EndOutcome {
  if (findAlive(proc, one.member) === null) return 'ended';
  // The process lives but was not signalled: its mark or group differs from the plan.
  if (one.shot === 'gone') return 'changed';
  return one.shot === 'denied' ? 'denied' : 'survived';
}
