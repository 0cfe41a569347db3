/** Compares curfew's state with the simulated world, after every event and at the end. Each check names its promise. */
import { isUnkillable } from '../../../src/core/admission/allocation.ts';
import type { Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import { DEADLINES } from '../../../src/lib/limits/session-limits.ts';
import { REGISTRY } from '../../../src/lib/limits/storage-limits.ts';
import type { CheckName } from '../../promises.ts';
import type { Generation, Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';
import { checkComebacks } from './comeback.ts';

/** The delay of records, mailboxes and scans of processes. */
const SLOW_MS = 8_000;
const TICK_MS = 2_500;
const SETTLE_MS = 10_000;
/** Two cleanups and the grace between them. */
const STRAY_MS = 700_000;

export function checkAfterEvent(sim: Sim): void {
  const { serving } = sim;
  checkClaims(sim);
  checkComebacks(sim);
  sim.returns.check();
  if (serving === null) return;
  const { nowMs } = sim.world;
  // A suspended supervisor is not judged.
  if (nowMs < sim.world.suspendedUntilMs('supervisor')) return;
  for (const run of sim.host.alive) checkKnown(sim, serving, run);
  checkPool(sim, serving.supervisor);
  sim.zygotes.check(serving);
  sim.warmForks.check(serving);
  const all = serving.supervisor.sessions.all();
  for (const session of all) {
    checkTimes(sim, session);
    sim.callers.check(session);
  }
  if (!sim.ledger.dirty) return;
  sim.ledger.dirty = false;
  checkQuotas(sim, serving, all);
}

/** Each live worker's session holds the claim on record. */
function checkClaims(sim: Sim): void {
  const { host, disk, world } = sim;
  for (const run of host.alive) {
    if (run.spec === null || host.members(run).length === 0) continue;
    checkAlone(sim, run, run.spec.claim);
    if (sim.ledger.isFinishing(run)) continue;
    const holder = disk.tables.claims.get(run.spec.claim);
    if (holder !== run.spec.id)
      world.fail(
        'slots-and-claims-come-back: a claim is held until its worker is gone',
        `${run.id} lives, its claim is held by ${holder ?? 'no session'}`,
      );
  }
}

/** Another worker of the claim may run its callbacks, and its agent is out of the room. */
function checkAlone({ host, agents, world }: Sim, run: Run, claim: string): void {
  if (agents.get(run.id)?.isInRoom !== true) return;
  for (const other of host.alive)
    if (other.id !== run.id && other.spec?.claim === claim && agents.get(other.id)?.isInRoom === true)
      world.fail(
        'one-live-worker-per-claim: only one agent of a claim is in its room',
        `${run.id} and ${other.id} are both in their room`,
      );
}

/** Each tree is known as running, or its teardown is under way. */
function checkKnown(sim: Sim, { supervisor }: Generation, run: Run): void {
  const { host, world } = sim;
  if (host.members(run).length === 0) return;
  if (run.spec === null) {
    checkWarm(sim, supervisor, run);
    return;
  }
  const session = supervisor.sessions.state(run.spec.id);
  if (session === null) {
    world.fail(
      'every-tree-is-accounted-for: each tree belongs to a known session',
      `${run.id} lives, and its session is not known`,
    );
    return;
  }
  const late = world.nowMs - run.bornMs < 20_000;
  if (session.phase.name === 'ended' && !isUnkillable(session) && !late)
    world.fail(
      'reports-are-true: an ended session has no live worker',
      `${run.id} lives, ${session.spec.id} ended as ${session.phase.ending.reason}`,
    );
  if (workerOf(session)?.id !== run.id && session.phase.name !== 'ended')
    world.fail(
      'every-tree-is-accounted-for: each tree is the current worker of its session',
      `${run.id} lives, ${session.spec.id} knows ${workerOf(session)?.id ?? 'none'}`,
    );
}

/** A warm worker belongs to the pool or to a session. The next cleanup ends every other one. */
function checkWarm({ world, ledger }: Sim, { parts }: Generation['supervisor'], run: Run): void {
  if (world.nowMs - Math.max(run.bornMs, ledger.anewMs) < STRAY_MS) return;
  if (!parts.pool.has(run.id) && !parts.zygotes.has(run.id) && !parts.workerIndex.has(run.id))
    world.fail(
      'every-tree-is-accounted-for: each warm tree is in the pool or has a session',
      `${run.id} lives, warm, without pool and session`,
    );
}

/** A worker leaves the pool soon after its assignment. */
function checkPool(sim: Sim, { parts }: Generation['supervisor']): void {
  const { world, host, ledger } = sim;
  for (const run of host.alive) {
    if (run.spec === null || parts.pool.profileOf(run.id) === null) continue;
    const sinceMs = Math.max(ledger.cases.get(run.spec.id)?.wantedMs ?? 0, ledger.anewMs);
    if (world.nowMs - sinceMs > SETTLE_MS)
      world.fail(
        'every-tree-is-accounted-for: an assigned worker has left the pool',
        `${run.id} works for ${run.spec.id}`,
      );
  }
}

/** How long the first two records of a session may take on a slow disk. */
function recordMs({ disk }: Sim, askedMs: number): number {
  return disk.troubleMs >= askedMs - REGISTRY.timeoutMs ? 2 * REGISTRY.timeoutMs : 0;
}

function checkTimes(sim: Sim, session: Session): void {
  const { world, ledger } = sim;
  const one = ledger.cases.get(session.spec.id);
  if (one === undefined) return;
  const { phase, spec } = session;
  const sinceMs = (fromMs: number) =>
    world.nowMs - Math.max(fromMs, ledger.anewMs, world.suspendedUntilMs('supervisor'));
  const overdue = (check: CheckName, fromMs: number, boundMs: number) => {
    if (sinceMs(fromMs) > boundMs)
      world.fail(check, `${spec.id} is ${phase.name} after ${Math.round(world.nowMs - fromMs)} ms`);
  };
  if (phase.name === 'closing' && one.closingMs !== null)
    overdue(
      'every-wait-has-a-bound: a teardown ends within the sum of its bounds',
      one.closingMs,
      ladderMs(session) + SLOW_MS,
    );
  const rejectedMs = sim.rejections.heardMs(spec.id);
  if (rejectedMs !== null && phase.name !== 'closing' && phase.name !== 'ended')
    overdue(
      'livekit-agents-run-unchanged: a rejected job ends its session',
      rejectedMs,
      SLOW_MS + recordMs(sim, rejectedMs),
    );
  if (phase.name !== 'starting' && phase.name !== 'live') return;
  if (one.startedMs !== null && world.nowMs > one.startedMs + spec.limits.maxDurationMs)
    overdue(
      'every-wait-has-a-bound: a session ends at its maximum duration',
      one.startedMs + spec.limits.maxDurationMs,
      SLOW_MS,
    );
  if (one.dueMs !== null)
    overdue(
      'every-wait-has-a-bound: a released session begins its teardown',
      one.dueMs,
      SLOW_MS + recordMs(sim, one.dueMs),
    );
  const worker = workerOf(session);
  // A worker that is being replaced has the bounds of its own kill steps.
  const awaited = phase.name === 'starting' || phase.work.kind === 'running';
  if (worker?.readyByMs != null && awaited)
    overdue(
      'every-wait-has-a-bound: a start ends within its bound',
      world.ofBoot(worker.spawnedAt.bootMs),
      spec.limits.startTimeoutMs + SLOW_MS,
    );
  const end = worker === null ? null : (sim.host.runs.get(worker.id)?.end ?? null);
  if (phase.name === 'live' && phase.work.kind === 'running' && end !== null)
    overdue('reports-are-true: a live session has a live worker', end.atMs, SLOW_MS);
  checkErrors(sim, session);
}

function checkErrors(sim: Sim, { phase, spec }: Session): void {
  const one = sim.ledger.cases.get(spec.id);
  const { nowMs } = sim.world;
  if (one === undefined || phase.name !== 'live') return;
  // A held ending, a replacement and a pending record each postpone the next ending.
  if (phase.inference !== null || phase.work.kind !== 'running' || one.waitsSinceMs !== null)
    one.busyMs = nowMs;
  const isDue = nowMs - Math.max(one.errorMs, one.busyMs, sim.ledger.anewMs) > TICK_MS;
  if (
    one.errorsInRow >= spec.limits.errorLimit &&
    isDue &&
    nowMs - one.errorMs < 50_000 &&
    one.errorMs > sim.ledger.anewMs
  )
    sim.world.fail(
      'every-wait-has-a-bound: errors in a row end a session at their limit',
      `${spec.id} reported ${one.errorsInRow} in a row, the limit is ${spec.limits.errorLimit}`,
    );
}

function ladderMs({ spec, phase }: Session): number {
  const { ladder } = spec.profile;
  const wrapUp = phase.name === 'closing' && phase.ladder.wrapUp;
  const acloseMs = wrapUp ? Math.max(ladder.wrapUpMs, ladder.acloseMs) : ladder.acloseMs;
  const processMs =
    acloseMs + ladder.disconnectMs + ladder.termMs + ladder.killMs + DEADLINES.spawnMs + DEADLINES.confirmMs;
  return processMs + ladder.removeAgentMs + ladder.closeRoomMs;
}

/** The holders of slots are exactly the sessions with a tree, and no limit is exceeded. */
function checkQuotas(sim: Sim, { supervisor }: Generation, all: readonly Session[]): void {
  const { world, host, ledger } = sim;
  const quotas = supervisor.parts.admission.quotas();
  const placed = new Set<string>(quotas.find((one) => one.name === 'host')?.holders ?? []);
  const stuck = new Set<string>(all.filter(isUnkillable).map((session) => session.spec.id));
  // A session that wraps up frees the slot of its user before it can prove unkillable, so `stuck` counts for the host alone.
  // After a restart the supervisor must first see again that a tree is gone, so limits are checked only then.
  const settled = world.nowMs - ledger.anewMs > SETTLE_MS;
  for (const { name, holders, limit } of quotas)
    if (settled && holders.filter((id) => name === 'host' || !stuck.has(id)).length > limit)
      world.fail(
        'slots-and-claims-come-back: no limit is exceeded',
        `${name}: ${holders.join()} of ${limit}`,
      );
  const working = new Set(
    [...host.alive].flatMap((run) => (host.members(run).length > 0 ? (run.spec?.id ?? []) : [])),
  );
  for (const id of working)
    if (!placed.has(id))
      world.fail(
        'slots-and-claims-come-back: a slot is held until its tree is gone',
        `${id} lives without one`,
      );
  const known = new Map(all.map((session) => [session.spec.id as string, session]));
  for (const id of placed) {
    const session = known.get(id);
    // A session is not known before its first record.
    if (session === undefined && !ledger.isArriving(id))
      world.fail(
        'slots-and-claims-come-back: no slot belongs to an unknown or ended session',
        `${id} holds a slot and is not known`,
      );
    if (session?.phase.name === 'ended' && !isUnkillable(session))
      world.fail(
        'slots-and-claims-come-back: no slot belongs to an unknown or ended session',
        `${id} has ended and holds a slot`,
      );
  }
}

/** At the end the world holds no process, no open session, no claim and no slot. */
export function checkAtEnd(sim: Sim): void {
  const { world, host, disk, serving } = sim;
  for (const run of [...host.alive].filter((one) => one.spec !== null))
    world.fail(
      'every-tree-is-accounted-for: no process is left at the end',
      `${run.id}: ${host.members(run).length} and ${run.shim.alive ? 'its shim' : 'no shim'}`,
    );
  for (const session of disk.tables.sessions.values())
    if (session.phase.name !== 'ended')
      world.fail(
        'every-wait-has-a-bound: every session has ended at the end',
        `${session.spec.id} is on record as ${session.phase.name}`,
      );
  for (const [claim, id] of disk.tables.claims)
    world.fail('slots-and-claims-come-back: every claim is free at the end', `${claim} is held by ${id}`);
  for (const one of sim.ledger.cases.values())
    if (one.acknowledged && !disk.tables.sessions.has(one.id))
      world.fail('unknown-is-not-gone: an accepted session is never lost', one.id);
  sim.zygotes.checkAtEnd();
  if (serving === null) return;
  const { quotas, queue } = serving.supervisor.capacity();
  for (const { name, used } of quotas)
    if (used > 0) world.fail('slots-and-claims-come-back: every slot is free at the end', `${name}: ${used}`);
  if (queue.length > 0)
    world.fail('slots-and-claims-come-back: the queue is empty at the end', `${queue.length} wait`);
  const left = serving.supervisor.sessions.all();
  if (left.length > 0)
    world.fail(
      'reports-are-true: the supervisor remembers no session at the end',
      left.map((one) => one.spec.id).join(),
    );
}
