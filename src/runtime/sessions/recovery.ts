/**
 * What a start finds: every session that had not ended is matched with what runs, before anything new is accepted.
 *
 * - Alive: taken over, same process, deadlines as they were. Ended meanwhile: closed with its true exit status.
 * - Only intended: started or failed, never both, by the claim file. Another boot: lost with its host.
 * - Ended, but its worker could not be killed: held as before, and killed again.
 * - A living worker that the registry does not know: rebuilt from its folder; where that says nothing, left and named.
 *
 * Each step may be repeated: a supervisor that dies here is followed by one that does the same again.
 */

import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf } from '../../core/admission/allocation.ts';
import { quotasOf } from '../../core/admission/quotas.ts';
import type { SessionId, WorkerId } from '../../core/ids.ts';
import { firstWorkerId, isWarmId, sessionOfWorker } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import type { Worker, WorkerProcess } from '../../core/model/worker.ts';
import { channelOf, isTreeGone, processOf } from '../../core/model/worker.ts';
import { repeatRoomStep } from '../../core/teardown/room-track.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { RECOVERY, TICK_MS } from '../../lib/limits/worker-limits.ts';
import type { Adopted } from '../../ports/workers.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { Warm } from '../workers/warm-handoff.ts';
import { reservedWorker } from '../workers/warm-handoff.ts';
import type { SessionHost } from './session-host.ts';

export async function recover(sessions: SessionHost): Promise<void> {
  const { log, registry } = sessions.deps;
  const open = await registry.open();
  failpoint('recovery.opened');
  const holders: Session[] = [];
  const holdings: Allocation[] = [];
  const waiting: Session[] = [];
  for (const session of open) {
    const holding = allocationOf(session);
    if (holding === null) waiting.push(session);
    else {
      holders.push(session);
      holdings.push(holding);
    }
  }
  sessions.admission.restore(holdings);
  // Who waits comes last: by then admission knows who holds what.
  await inParallel(holders, (session) => takeOver(sessions, session));
  // Only a database that was lost, or damaged in part, leaves workers without a record, for each is recorded before it starts: then they come first.
  if (registry.isNew) await rebuildUnknown(sessions);
  for (const session of waiting) await takeOver(sessions, session);
  failpoint('recovery.before-ready');
  if (open.length > 0) log.info({ sessions: open.length }, 'the sessions of before were taken over');
  nameMute(sessions);
}

/** Their tokens, or their marks, are of an id or a key that somebody took away. */
function nameMute(sessions: SessionHost): void {
  const { deps } = sessions;
  const mute = sessions.all().filter((one) => {
    const worker = workerOf(one);
    return !isEnded(one) && worker !== null && !isTreeGone(worker) && isMute(deps, processOf(worker));
  });
  if (mute.length > 0)
    deps.log.error(
      { sessions: mute.map((one) => one.spec.id), stateDir: deps.instance.stateDir },
      'instance.id or master.key is newer than these calls: their workers cannot reconnect, and are not heard; the calls go on until something else ends them',
    );
}

/** Started before this instance's id and key were made. */
function isMute({ instance, clock }: SupervisorDeps, process: WorkerProcess | null): boolean {
  const { bootMs, wallMs } = clock.now();
  const madeMs = bootMs - (wallMs - instance.madeWallMs);
  return process !== null && (process.shim.startTicks + 1) * TICK_MS < madeMs;
}

async function takeOver(sessions: SessionHost, session: Session): Promise<void> {
  try {
    await recoverOne(
      sessions,
      session,
      processOf(workerOf(session)) ?? reservedWorker(session)?.process ?? null,
    );
  } catch (error) {
    sessions.deps.log.error(
      { session: session.spec.id, error: messageOf(error) },
      'a session could not be taken over yet; it is tried again',
    );
    if (sessions.state(session.spec.id) === null) sessions.add(session, repeatRoomStep(session));
    countAnew(sessions, session.spec.id);
    takeOverLater(sessions, session.spec.id);
  }
}

/** A full disk, say: the session is known and keeps what it holds, and its worker is looked for until it is found or known to be none. */
function takeOverLater(sessions: SessionHost, id: SessionId): void {
  const { clock, log } = sessions.deps;
  clock.at(clock.now().bootMs + RECOVERY.againMs, () => {
    const session = sessions.state(id);
    const worker = session === null ? null : workerOf(session);
    // Its worker is looked for when it has begun.
    if (session !== null && reservedWorker(session) !== null) return takeOverLater(sessions, id);
    if (session === null || worker === null || isTreeGone(worker)) return;
    sessions.workers.adopt(worker.id, processOf(worker)).then(
      (found) => tellFound(sessions, sessions.state(id) ?? session, { worker, found }),
      (error: unknown) => {
        log.debug({ session: id, error: messageOf(error) }, 'a session could still not be taken over');
        takeOverLater(sessions, id);
      },
    );
  });
}

async function inParallel<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < all.length; at += RECOVERY.atOnce)
    await Promise.all(all.slice(at, at + RECOVERY.atOnce).map(work));
}

async function recoverOne(
  sessions: SessionHost,
  session: Session,
  known: WorkerProcess | null,
): Promise<void> {
  if (isEnded(session)) return recoverUnkillable(sessions, session);
  const { id } = session.spec;
  const { instance, clock } = sessions.deps;
  const worker = workerOf(session);
  if (isOfAnotherBoot(session, known, { bootId: instance.bootId, nowMs: clock.now().bootMs })) {
    sessions.add(session, []);
    sessions.post(id, { type: 'host_lost' });
    await sessions.idle(id);
    return;
  }
  const promised = reservedWorker(session);
  if (promised !== null) return takeOverPromised(sessions, session, promised);
  if (worker === null || isTreeGone(worker)) {
    sessions.add(session, repeatRoomStep(session));
    countAnew(sessions, id);
    requeue(sessions, session);
    return;
  }
  // Before its timers run: whoever signals it must find it.
  failpoint('recovery.before-adoption');
  const found = await sessions.workers.adopt(worker.id, known);
  failpoint('recovery.adopted');
  sessions.add(session, repeatRoomStep(session));
  tellFound(sessions, session, { worker, found });
  // What has ended must not be shown as live when the first question comes.
  if (found === null || found.exit !== null) await sessions.idle(id);
}

/**
 * Its warm worker may be in the room already: the record of an assignment follows it. So it is given the room again, which it takes
 * for a repeat; another one is started only when its whole tree is gone.
 */
async function takeOverPromised(
  sessions: SessionHost,
  session: Session,
  { id, process }: Warm,
): Promise<void> {
  const found = await sessions.workers.adopt(id, process);
  sessions.add(session, []);
  if (found === null)
    sessions.post(session.spec.id, {
      type: 'exited',
      workerId: id,
      exit: { code: null, signal: null, at: sessions.deps.clock.now() },
    });
  // LiveKit has forgotten what it had promised to the connection of before.
  sessions.post(session.spec.id, { type: 'assigned' });
  await sessions.idle(session.spec.id);
  const begun = sessions.state(session.spec.id) ?? session;
  const worker = workerOf(begun);
  if (worker !== null && found !== null) tellFound(sessions, begun, { worker, found });
  else countAnew(sessions, session.spec.id);
  if (found?.exit) await sessions.idle(session.spec.id);
}

/** What its worker was found to be, in the order in which it happened. */
function tellFound(
  sessions: SessionHost,
  session: Session,
  { worker, found }: { worker: Worker; found: Adopted | null },
): void {
  const { id } = session.spec;
  if (found === null) sessions.post(id, notStarted(session, worker.id));
  else if (processOf(worker) === null)
    sessions.post(id, { type: 'spawned', workerId: worker.id, process: found.process });
  // Before any deadline: what came first is the cause.
  if (found !== null && found.exit !== null)
    sessions.post(id, { type: 'exited', workerId: worker.id, exit: found.exit });
  const mute = isMute(sessions.deps, found?.process ?? processOf(worker));
  if (channelOf(worker) !== 'none')
    sessions.post(id, { type: 'channel', workerId: worker.id, open: false, ...(mute && { mute }) });
  countAnew(sessions, id);
}

/** Nothing was heard or seen meanwhile: silence, absence and steps count anew. */
function countAnew(sessions: SessionHost, id: SessionId): void {
  sessions.post(id, { type: 'gap', gapMs: 0 });
}

/** Ended, and nothing killed its worker: it keeps slot and claim until its tree is gone, and is hunted again. */
async function recoverUnkillable(sessions: SessionHost, session: Session): Promise<void> {
  const { instance, clock } = sessions.deps;
  const worker = workerOf(session);
  if (worker === null) return;
  const process = processOf(worker);
  const lost = isOfAnotherBoot(session, process, { bootId: instance.bootId, nowMs: clock.now().bootMs });
  const found = lost ? null : await sessions.workers.adopt(worker.id, processOf(worker));
  sessions.add(session, []);
  if (found === null) sessions.post(session.spec.id, { type: 'tree', workerId: worker.id, left: 0 });
  else sessions.workers.signal(worker.id, 'SIGKILL');
}

/** A call that was accepted is started after all; a replacement counts its try. */
function notStarted({ phase }: Session, id: WorkerId): SessionEvent {
  if (phase.name === 'starting') return { type: 'not_started', workerId: id };
  if (phase.name === 'ended') return { type: 'tree', workerId: id, left: 0 };
  return {
    type: 'spawn_failed',
    workerId: id,
    detail: 'the supervisor ended before the worker was started',
  };
}

function isOfAnotherBoot(
  { spec }: Session,
  known: WorkerProcess | null,
  { bootId, nowMs }: { bootId: string; nowMs: number },
): boolean {
  const madeIn = known?.shim.bootId ?? spec.bootId;
  // Where neither is known, a creation in the boot clock's future tells.
  return madeIn === undefined ? spec.createdAt.bootMs > nowMs : madeIn !== bootId;
}

/** Workers that live and that no open session of the registry explains, as after the loss of the database. Never rejects. */
export async function rebuildUnknown(sessions: SessionHost): Promise<void> {
  const { log, table } = sessions.deps;
  try {
    const { workerIds } = await table.scan();
    const known = new Set(sessions.all().flatMap((one) => workerOf(one)?.id ?? []));
    for (const id of workerIds.filter((one) => !known.has(one))) await rebuildOne(sessions, id);
  } catch (error) {
    log.error({ error: messageOf(error) }, 'workers without a record could not be looked for');
  }
}

async function rebuildOne(sessions: SessionHost, id: WorkerId): Promise<void> {
  const { log, registry, records } = sessions.deps;
  try {
    // A warm one without a session is taken back by the pool.
    if (isWarmId(id) && (await records.readWarm(id)) !== null) return;
    const session = isWarmId(id) ? (await records.read(id))?.session.spec.id : sessionOfWorker(id);
    // Begun meanwhile, or of a session that has ended or goes on with another worker: that is the sweep's to judge.
    if (session !== undefined && (sessions.state(session) !== null || (await registry.get(session)) !== null))
      return;
    if (await rebuild(sessions, id)) return;
    log.error({ worker: id }, 'a worker runs that no record explains; it is left: see `curfew cleanup`');
  } catch (error) {
    log.error(
      { worker: id, error: messageOf(error) },
      'a worker runs that could not be taken over; it is left',
    );
  }
}

/** False: its folder does not say enough. */
async function rebuild(sessions: SessionHost, id: WorkerId): Promise<boolean> {
  const { registry, records, log } = sessions.deps;
  const record = await records.read(id);
  if (record === null || isEnded(record.session) || workerOf(record.session)?.id !== id) return false;
  const { session, process } = record;
  await registry.create({ session, claim: allocationOf(session)?.claim ?? null });
  await recoverOne(sessions, session, processOf(workerOf(session)) ?? process);
  log.warn({ session: session.spec.id, worker: id }, 'a session was rebuilt from the folder of its worker');
  return true;
}

/** It waits again, behind those that are running; its time in the queue begins anew. */
function requeue(sessions: SessionHost, session: Session): void {
  const { spec, phase } = session;
  // Admitted before, and only paced by the start rate: its place is its own.
  if (phase.name !== 'queued' || phase.grant !== null) {
    sessions.post(spec.id, { type: 'tick' });
    return;
  }
  const answer = sessions.admission.request({
    sessionId: spec.id,
    claim: spec.claim,
    quotas: quotasOf(spec),
    mayQueue: spec.unasked !== true,
  });
  if (answer.kind === 'granted')
    sessions.post(spec.id, {
      type: 'granted',
      startAtMs: answer.startAtMs,
      workerId: firstWorkerId(spec.id),
    });
  if (answer.kind === 'full' || answer.kind === 'taken')
    sessions.post(spec.id, {
      type: 'expired',
      detail: 'the supervisor was restarted and its place was gone',
    });
}
