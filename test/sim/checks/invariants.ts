/** What must hold after every event: curfew's state beside what the simulated world holds. */
import { isUnkillable } from '../../../src/core/admission/allocation.ts';
import type { Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import { DEADLINES } from '../../../src/lib/limits/session-limits.ts';
import { REGISTRY } from '../../../src/lib/limits/storage-limits.ts';
import type { Generation, Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';

/** Records, mailboxes and looks at processes take their time. */
const SLOW_MS = 8_000;
const TICK_MS = 2_500;
const SETTLE_MS = 10_000;
/** A sweep, its grace, and the next one. */
const STRAY_MS = 700_000;

export function checkAfterEvent(sim: Sim): void {
  const { serving } = sim;
  checkClaims(sim);
  if (serving === null) return;
  const { nowMs } = sim.world;
  // Only what had its time since the last restart, gap or trouble is judged.
  if (nowMs < sim.world.stillUntilMs('supervisor')) return;
  for (const run of sim.host.alive) checkKnown(sim, serving, run);
  checkPool(sim, serving.supervisor);
  const all = serving.supervisor.sessions.all();
  for (const session of all) checkTimes(sim, session);
  if (!sim.ledger.dirty) return;
  sim.ledger.dirty = false;
  checkQuotas(sim, serving, all);
}

/** Whoever lives holds its claim on record, alone. */
function checkClaims(sim: Sim): void {
  const { host, disk, world } = sim;
  for (const run of host.alive) {
    if (run.spec === null || host.members(run).length === 0) continue;
    const holder = disk.tables.claims.get(run.spec.claim);
    if (holder !== run.spec.id)
      world.fail(
        '6 a claim is held until its worker is gone',
        `${run.id} lives, its claim is held by ${holder ?? 'nobody'}`,
      );
  }
}

/** Every tree is known as running, or is being ended. */
function checkKnown(sim: Sim, { supervisor }: Generation, run: Run): void {
  const { host, world } = sim;
  if (host.members(run).length === 0) return;
  if (run.spec === null) {
    checkWarm(sim, supervisor, run);
    return;
  }
  const session = supervisor.sessions.state(run.spec.id);
  if (session === null) {
    world.fail('2 every tree is known', `${run.id} lives, and its session is not known`);
    return;
  }
  const late = world.nowMs - run.bornMs < 20_000;
  if (session.phase.name === 'ended' && !isUnkillable(session) && !late)
    world.fail(
      '5 what has ended has no worker',
      `${run.id} lives, ${session.spec.id} ended as ${session.phase.ending.reason}`,
    );
  if (workerOf(session)?.id !== run.id && session.phase.name !== 'ended')
    world.fail(
      '2 every tree is known',
      `${run.id} lives, ${session.spec.id} knows ${workerOf(session)?.id ?? 'none'}`,
    );
}

/** Kept by the pool or for a session; one that nobody keeps is left for the next sweep. */
function checkWarm({ world, ledger }: Sim, { sessions }: Generation['supervisor'], run: Run): void {
  if (world.nowMs - Math.max(run.bornMs, ledger.anewMs) < STRAY_MS) return;
  if (!sessions.pool.has(run.id) && !sessions.isOwned(run.id))
    world.fail('2 every tree is known', `${run.id} lives, warm, and nobody keeps it`);
}

/** No promise outlives the start that it was made for. */
function checkPool(sim: Sim, { sessions }: Generation['supervisor']): void {
  const { world, host, ledger } = sim;
  for (const run of host.alive) {
    if (run.spec === null || sessions.pool.profileOf(run.id) === null) continue;
    const sinceMs = Math.max(ledger.cases.get(run.spec.id)?.wantedMs ?? 0, ledger.anewMs);
    if (world.nowMs - sinceMs > SETTLE_MS)
      world.fail('a given worker is not in the pool', `${run.id} works for ${run.spec.id}`);
  }
}

/** Its first record, and that of its start, may be on their way to a slow disk. */
function recordMs({ disk }: Sim, askedMs: number): number {
  return disk.troubleMs >= askedMs - REGISTRY.timeoutMs ? 2 * REGISTRY.timeoutMs : 0;
}

function checkTimes(sim: Sim, session: Session): void {
  const { world, ledger } = sim;
  const one = ledger.cases.get(session.spec.id);
  if (one === undefined) return;
  const { phase, spec } = session;
  const sinceMs = (fromMs: number) =>
    world.nowMs - Math.max(fromMs, ledger.anewMs, world.stillUntilMs('supervisor'));
  const overdue = (what: string, fromMs: number, boundMs: number) => {
    if (sinceMs(fromMs) > boundMs)
      world.fail(what, `${spec.id} is ${phase.name} after ${Math.round(world.nowMs - fromMs)} ms`);
  };
  if (phase.name === 'closing' && one.closingMs !== null)
    overdue('3 no ladder outlives its bounds', one.closingMs, ladderMs(session) + SLOW_MS);
  if (phase.name !== 'starting' && phase.name !== 'live') return;
  if (one.startedMs !== null && world.nowMs > one.startedMs + spec.limits.maxDurationMs)
    overdue('no session outlives its maximum', one.startedMs + spec.limits.maxDurationMs, SLOW_MS);
  if (one.dueMs !== null) overdue('what is released ends', one.dueMs, SLOW_MS + recordMs(sim, one.dueMs));
  const worker = workerOf(session);
  // One that was too late is ended in bounds of its own.
  const awaited = phase.name === 'starting' || phase.work.kind === 'running';
  if (worker?.readyByMs != null && awaited)
    overdue(
      'a start has its bound',
      world.ofBoot(worker.spawnedAt.bootMs),
      spec.limits.startTimeoutMs + SLOW_MS,
    );
  const end = worker === null ? null : (sim.host.runs.get(worker.id)?.end ?? null);
  if (phase.name === 'live' && phase.work.kind === 'running' && end !== null)
    overdue('5 nothing dead is live', end.atMs, SLOW_MS);
  checkErrors(sim, session);
}

function checkErrors(sim: Sim, { phase, spec }: Session): void {
  const one = sim.ledger.cases.get(spec.id);
  const { nowMs } = sim.world;
  if (one === undefined || phase.name !== 'live') return;
  // An ending is held, a worker is replaced, or a record is waited for: nothing else is asked for meanwhile.
  if (phase.inference !== null || phase.work.kind !== 'running' || one.waitsSinceMs !== null)
    one.busyMs = nowMs;
  const told = nowMs - Math.max(one.errorMs, one.busyMs, sim.ledger.anewMs) > TICK_MS;
  if (
    one.errorsInRow >= spec.limits.errorLimit &&
    told &&
    nowMs - one.errorMs < 50_000 &&
    one.errorMs > sim.ledger.anewMs
  )
    sim.world.fail(
      'errors have their limit',
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

/** Slots are held by whom the world says, no more, no fewer, and never more than there are. */
function checkQuotas(sim: Sim, { supervisor }: Generation, all: readonly Session[]): void {
  const { world, host, ledger } = sim;
  const quotas = supervisor.sessions.admission.quotas();
  const placed = new Set<string>(quotas.find((one) => one.name === 'host')?.holders ?? []);
  const stuck = new Set<string>(all.filter(isUnkillable).map((session) => session.spec.id));
  // One that wrapped up had given its user's place away before it proved unkillable.
  // After a restart a tree may have to be seen gone a second time.
  const settled = world.nowMs - ledger.anewMs > SETTLE_MS;
  for (const { name, holders, limit } of quotas)
    if (settled && holders.filter((id) => name === 'host' || !stuck.has(id)).length > limit)
      world.fail('6 no limit is exceeded', `${name}: ${holders.join()} of ${limit}`);
  const working = new Set(
    [...host.alive].flatMap((run) => (host.members(run).length > 0 ? (run.spec?.id ?? []) : [])),
  );
  for (const id of working)
    if (!placed.has(id)) world.fail('6 a slot is held until the tree is gone', `${id} lives and holds none`);
  const known = new Map(all.map((session) => [session.spec.id as string, session]));
  for (const id of placed) {
    const session = known.get(id);
    // Being taken in: its first record is on its way.
    if (session === undefined && !ledger.isArriving(id))
      world.fail('6 no slot is leaked', `${id} holds a slot and is not known`);
    if (session?.phase.name === 'ended' && !isUnkillable(session))
      world.fail('6 no slot is leaked', `${id} has ended and holds a slot`);
  }
}

/** When everything is over nothing is left. */
export function checkAtEnd(sim: Sim): void {
  const { world, host, disk, serving } = sim;
  for (const run of [...host.alive].filter((one) => one.spec !== null))
    world.fail(
      'at the end no process is left',
      `${run.id}: ${host.members(run).length} and ${run.shim.alive ? 'its shim' : 'no shim'}`,
    );
  for (const session of disk.tables.sessions.values())
    if (session.phase.name !== 'ended')
      world.fail(
        'at the end every session has ended',
        `${session.spec.id} is on record as ${session.phase.name}`,
      );
  for (const [claim, id] of disk.tables.claims)
    world.fail('at the end every claim is free', `${claim} is held by ${id}`);
  for (const one of sim.ledger.cases.values())
    if (one.acknowledged && !disk.tables.sessions.has(one.id))
      world.fail('what was accepted is not lost', one.id);
  if (serving === null) return;
  const { quotas, queue } = serving.supervisor.capacity();
  for (const { name, used } of quotas)
    if (used > 0) world.fail('at the end every slot is free', `${name}: ${used}`);
  if (queue.length > 0) world.fail('at the end nobody waits', `${queue.length}`);
  const left = serving.supervisor.sessions.all();
  if (left.length > 0) world.fail('at the end nothing is in memory', left.map((one) => one.spec.id).join());
}
