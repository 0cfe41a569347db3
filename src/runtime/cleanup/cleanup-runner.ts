/**
 * The sweep: a look at every process, the verdicts of core/verdict.ts, a plan, and on demand the end of exactly that plan's processes.
 * The look comes before the question which sessions there are, so that one born meanwhile is no orphan. The dry run is the same code.
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
  /** Patterns of the config: what looks like an agent. */
  readonly patterns: readonly string[];
  readonly graceMs: number;
}

export interface Outcome {
  readonly plan: CleanupPlan;
  /** Empty in a dry run. */
  readonly ended: readonly Ended[];
  /** Not in the plan, and yet to be ended by the look after it. */
  readonly appeared: readonly Verdict[];
}

export class CleanupRunner {
  readonly #deps: CleanupRunnerDeps;
  #last: Promise<unknown> = Promise.resolve();
  /** Of the last look without a supervisor: sessions whose worker is gone. */
  #stale: string[] = [];

  constructor(deps: CleanupRunnerDeps) {
    this.#deps = deps;
  }

  /** One at a time: the next waits. Rejects not_found for a plan that is not known (any more). */
  sweep(request: CleanupRequest): Promise<CleanupView> {
    const run = this.#last.then(() => this.#run(request));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #run(request: CleanupRequest): Promise<CleanupView> {
    const sinceMs = performance.now();
    const { plan: named, dryRun } = request;
    const look = await this.#deps.table.scan();
    const plan =
      named === undefined
        ? await this.#plan(look, request)
        : await this.#known(named, look.spared(request.askerPid ?? null));
    const outcome = dryRun ? { plan, ended: [], appeared: [] } : await this.#apply(plan, request);
    return cleanupView(outcome, {
      dryRun,
      remarks: [...this.#deps.source.remarks, ...this.#stale],
      scanned: look.scanned,
      tookMs: performance.now() - sinceMs,
      now: this.#deps.clock.now(),
    });
  }

  async #plan(look: HostScan, request: CleanupRequest): Promise<CleanupPlan> {
    const { clock, plans, bootId, log } = this.#deps;
    const verdicts = await this.#judge(look, request);
    const plan = { id: planId(verdicts), madeAtWallMs: clock.now().wallMs, bootId, verdicts };
    if (request.dryRun)
      await plans
        .save(plan)
        .catch((error: unknown) =>
          log.warn({ error: String(error) }, 'the plan of a dry run could not be kept'),
        );
    return plan;
  }

  async #known(id: string, spared: ReadonlySet<number>): Promise<CleanupPlan> {
    const plan = await this.#deps.plans.load(id);
    // Its id says which processes were shown: a file with others is another plan.
    if (plan === null || planId(plan.verdicts) !== id)
      throw new CurfewError(
        'not_found',
        `there is no plan "${id}", or it is too old; make a new one by a dry run`,
      );
    // Numbers of another boot say nothing of this one's processes.
    if (plan.bootId !== this.#deps.bootId) return { ...plan, verdicts: [] };
    return { ...plan, verdicts: plan.verdicts.map((one) => sparesAsker(one, spared)) };
  }

  async #judge(look: HostScan, request: CleanupRequest): Promise<Verdict[]> {
    const { clock, source, graceMs } = this.#deps;
    return judge(await this.#facts(look, request), {
      nowMs: clock.now().bootMs,
      graceMs,
      supervised: source.supervised,
      spared: look.spared(request.askerPid ?? null),
      strangersOlderThanMs: request.unmanaged?.olderThanMs ?? null,
    });
  }

  /** The look is done by now: whoever began since is not in it. */
  async #facts(look: HostScan, request: CleanupRequest): Promise<CleanupFacts> {
    const { source, patterns, bootId } = this.#deps;
    const sessions = await source.open();
    const known = new Map(sessions.flatMap((one) => workersOf(one).map((id) => [id, one] as const)));
    const trees: WorkerTree[] = [];
    this.#stale = [];
    for (const workerId of new Set([...known.keys(), ...look.workerIds])) {
      const session = known.get(workerId) ?? (await source.sessionOf(workerId));
      const members = look.treeOf(workerId, session === null ? null : shimOf(session, workerId, bootId));
      const warm = session === null ? await source.warmOf(workerId) : null;
      if (members.length > 0) trees.push({ workerId, session, warm, members });
      else if (session !== null && !source.supervised) this.#stale.push(staleText(session));
    }
    const wanted = request.unmanaged === undefined ? request.match : request.unmanaged.match;
    return {
      trees,
      strangers: look.unmanaged(wanted === undefined ? patterns : [wanted], request.askerPid ?? null),
    };
  }

  async #apply(plan: CleanupPlan, request: CleanupRequest): Promise<Outcome> {
    const { table, source, log } = this.#deps;
    const doomed = plan.verdicts.filter((one) => one.action === 'kill');
    for (const one of plan.verdicts) if (one.session !== null) source.nudge(one.session);
    const ended = doomed.length === 0 ? [] : await table.end(doomed);
    table.removeEmptyGroups();
    const planned = new Set(doomed.flatMap((one) => one.members.map((member) => member.pid)));
    const after = doomed.length === 0 ? [] : await this.#judge(await table.scan(), request);
    const appeared = after.filter(
      (one) => one.action === 'kill' && one.members.some(({ pid }) => !planned.has(pid)),
    );
    for (const one of doomed) {
      const outcomes = ended.filter(({ pid }) => one.members.some((member) => member.pid === pid));
      const survived = outcomes.some(({ outcome }) => outcome === 'survived' || outcome === 'denied');
      const fields = { kind: one.kind, session: one.session, why: one.why, processes: outcomes };
      log[survived ? 'error' : 'warn'](
        fields,
        survived ? 'the sweep could not end a process' : 'the sweep ended processes',
      );
    }
    return { plan, ended, appeared };
  }
}

function staleText({ spec, phase }: Session): string {
  return `session ${spec.id} is recorded as ${phase.name}, but its worker is gone: the next start of the supervisor ends it`;
}

function workersOf(session: Session): WorkerId[] {
  const worker = workerOf(session);
  return worker === null || isTreeGone(worker) ? [] : [worker.id];
}

/** Null, too, for one of another boot: its number says nothing of this one's processes. */
function shimOf(session: Session, workerId: WorkerId, bootId: string): ProcessIdentity | null {
  const worker = workerOf(session);
  const shim = worker?.id === workerId ? processOf(worker)?.shim : null;
  return shim?.bootId === bootId ? shim : null;
}

/** Of what would be ended: the same processes make the same plan. */
function planId(verdicts: readonly Verdict[]): string {
  const doomed = verdicts.filter((one) => one.action === 'kill').flatMap((one) => one.members);
  const text = doomed.map(({ pid, startTicks }) => `${pid}.${startTicks}`).sort();
  return createHash('sha256').update(JSON.stringify(text)).digest('hex').slice(0, 12);
}
