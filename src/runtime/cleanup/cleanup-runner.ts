/**
 * The cleanup: a scan of every process, the verdicts of core/workers/cleanup-verdict.ts, and a plan. On demand it ends exactly the plan's
 * processes. The dry run is the same code.
 *
 * Race: a session can begin during the scan. The list of sessions is read after the scan, so that its worker is not judged an orphan.
 */
import { createHash } from 'node:crypto';
import type { CleanupRequest, CleanupView } from '../../api/cleanup-api.ts';
import type { WorkerId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import type { ProcessIdentity } from '../../core/model/worker.ts';
import { isTreeGone, processOf } from '../../core/model/worker.ts';
import type { CleanupFacts, Verdict, WorkerTree } from '../../core/workers/cleanup-verdict.ts';
import { judge, sparesAsker } from '../../core/workers/cleanup-verdict.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { CleanupPlan, CleanupPlans } from '../../ports/cleanup-plans.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Ended, HostScan, ProcessTable } from '../../ports/process-table.ts';
import type { CleanupSource } from './cleanup-source.ts';
import { cleanupView } from './cleanup-view.ts';

export interface CleanupRunnerDeps {
  readonly table: ProcessTable;
  readonly plans: CleanupPlans;
  readonly source: CleanupSource;
  readonly clock: Clock;
  readonly log: Log;
  readonly bootId: string;
  /** Command patterns of the config, for processes that look like agents. */
  readonly patterns: readonly string[];
  readonly graceMs: number;
}

export interface Outcome {
  readonly plan: CleanupPlan;
  /** Empty in a dry run. */
  readonly ended: readonly Ended[];
  /** Verdicts of the scan after the end that are not in the plan. They are not ended. */
  readonly appeared: readonly Verdict[];
}

export class CleanupRunner {
  readonly #deps: CleanupRunnerDeps;
  #last: Promise<unknown> = Promise.resolve();
  /** One text for each recorded session without a living worker, from the last scan. Empty under a supervisor. */
  #stale: string[] = [];

  constructor(deps: CleanupRunnerDeps) {
    this.#deps = deps;
  }

  /** Only one cleanup runs at a time, and the next one waits. Rejects not_found for a plan that is unknown or too old. */
  run(request: CleanupRequest): Promise<CleanupView> {
    const run = this.#last.then(() => this.#runOne(request));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #runOne(request: CleanupRequest): Promise<CleanupView> {
    const sinceMs = performance.now();
    const { plan: named, dryRun } = request;
    const scan = await this.#deps.table.scan();
    const plan =
      named === undefined
        ? await this.#makePlan(scan, request)
        : await this.#loadPlan(named, scan.spared(request.askerPid ?? null));
    const outcome = dryRun ? { plan, ended: [], appeared: [] } : await this.#apply(plan, request);
    return cleanupView(outcome, {
      dryRun,
      remarks: [...this.#deps.source.remarks, ...this.#stale, ...unused(request, plan)],
      scanned: scan.scanned,
      tookMs: performance.now() - sinceMs,
      now: this.#deps.clock.now(),
    });
  }

  async #makePlan(scan: HostScan, request: CleanupRequest): Promise<CleanupPlan> {
    const { clock, plans, bootId, log } = this.#deps;
    const verdicts = await this.#judge(scan, request);
    const plan = { id: planId(verdicts), madeAtWallMs: clock.now().wallMs, bootId, verdicts };
    if (request.dryRun)
      await plans
        .save(plan)
        .catch((error: unknown) =>
          log.warn({ error: String(error) }, 'the plan of a dry run could not be saved'),
        );
    return plan;
  }

  async #loadPlan(id: string, spared: ReadonlySet<number>): Promise<CleanupPlan> {
    const plan = await this.#deps.plans.load(id);
    // The id is the hash of the shown processes. A file with other processes is another plan.
    if (plan === null || planId(plan.verdicts) !== id)
      throw new CurfewError(
        'not_found',
        `there is no plan "${id}", or it is too old; make a new one by a dry run`,
      );
    // A pid of another boot does not identify a process of this boot.
    if (plan.bootId !== this.#deps.bootId) return { ...plan, verdicts: [] };
    return { ...plan, verdicts: plan.verdicts.map((one) => sparesAsker(one, spared)) };
  }

  async #judge(scan: HostScan, request: CleanupRequest): Promise<Verdict[]> {
    const { clock, source, graceMs } = this.#deps;
    return judge(await this.#facts(scan, request), {
      nowMs: clock.now().bootMs,
      graceMs,
      supervised: source.supervised,
      spared: scan.spared(request.askerPid ?? null),
      strangersOlderThanMs: request.unmanaged?.olderThanMs ?? null,
      abandonedDir: request.abandoned ?? null,
    });
  }

  /** Called after the scan, so that the facts contain every session that began before it. */
  async #facts(scan: HostScan, request: CleanupRequest): Promise<CleanupFacts> {
    const { source, patterns, bootId } = this.#deps;
    const sessions = await source.open();
    const known = new Map(sessions.flatMap((one) => workersOf(one).map((id) => [id, one] as const)));
    const trees: WorkerTree[] = [];
    this.#stale = [];
    for (const workerId of new Set([...known.keys(), ...scan.workerIds])) {
      const session = known.get(workerId) ?? (await source.sessionOf(workerId));
      const members = scan.treeOf(workerId, session === null ? null : shimOf(session, workerId, bootId));
      const warm = session === null ? await source.warmOf(workerId) : null;
      if (members.length > 0) trees.push({ workerId, session, warm, members });
      else if (session !== null && !source.supervised) this.#stale.push(staleText(session));
    }
    const wanted = request.unmanaged === undefined ? request.match : request.unmanaged.match;
    return {
      trees,
      strangers: scan.unmanaged(wanted === undefined ? patterns : [wanted], request.askerPid ?? null),
      // The search reads the environment of each process, so the automatic cleanup does without it.
      foreign: request.dryRun || request.abandoned !== undefined ? scan.foreign() : [],
    };
  }

  async #apply(plan: CleanupPlan, request: CleanupRequest): Promise<Outcome> {
    const { table, source, log } = this.#deps;
    const targets = plan.verdicts.filter((one) => one.action === 'kill');
    for (const one of plan.verdicts) if (one.session !== null) source.recheckDeadlines(one.session);
    const ended = targets.length === 0 ? [] : await table.end(targets);
    table.removeEmptyGroups();
    const planned = new Set(targets.flatMap((one) => one.members.map((member) => member.pid)));
    const after = targets.length === 0 ? [] : await this.#judge(await table.scan(), request);
    const appeared = after.filter(
      (one) => one.action === 'kill' && one.members.some(({ pid }) => !planned.has(pid)),
    );
    for (const one of targets) {
      const outcomes = ended.filter(({ pid }) => one.members.some((member) => member.pid === pid));
      const survived = outcomes.some(({ outcome }) => outcome === 'survived' || outcome === 'denied');
      const fields = { kind: one.kind, session: one.session, why: one.why, processes: outcomes };
      log[survived ? 'error' : 'warn'](
        fields,
        survived ? 'the cleanup could not end a process' : 'the cleanup ended processes',
      );
    }
    return { plan, ended, appeared };
  }
}

function staleText({ spec, phase }: Session): string {
  return `session ${spec.id} is recorded as ${phase.name}, but its worker is gone: the next start of the supervisor ends it`;
}

/** A person named a state directory, and the answer must not be silent on it. */
function unused({ abandoned }: CleanupRequest, { verdicts }: CleanupPlan): string[] {
  if (abandoned === undefined || verdicts.some(({ instance }) => instance?.stateDir === abandoned)) return [];
  return [
    `no worker of the state directory ${abandoned} is without its supervisor; check the path, and whether that supervisor runs`,
  ];
}

function workersOf(session: Session): WorkerId[] {
  const worker = workerOf(session);
  return worker === null || isTreeGone(worker) ? [] : [worker.id];
}

/** null: no shim is known, or it is of another boot, where its pid identifies no process of this boot. */
function shimOf(session: Session, workerId: WorkerId, bootId: string): ProcessIdentity | null {
  const worker = workerOf(session);
  const shim = worker?.id === workerId ? processOf(worker)?.shim : null;
  return shim?.bootId === bootId ? shim : null;
}

/** The hash of the processes that the plan would end. The same processes have the same plan id. */
function planId(verdicts: readonly Verdict[]): string {
  const targets = verdicts.filter((one) => one.action === 'kill').flatMap((one) => one.members);
  const text = targets.map(({ pid, startTicks }) => `${pid}.${startTicks}`).sort();
  return createHash('sha256').update(JSON.stringify(text)).digest('hex').slice(0, 12);
}
