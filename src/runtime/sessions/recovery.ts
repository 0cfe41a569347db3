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
import type { Found } from '../../core/model/events.ts';
import type { Session, WorkerProcess } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { RECOVERY, TICK_MS } from '../../lib/limits/worker-limits.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';
import { reservedWorker } from '../workers/warm-handoff.ts';

type RecoveryParts = Pick<SupervisorParts, 'deps' | 'sessions' | 'steps' | 'workers' | 'admission'>;

export async function recover(parts: RecoveryParts): Promise<void> {
  const { log, registry } = parts.deps;
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
  parts.admission.restore(holdings);
  // Who waits comes last: by then admission knows who holds what.
  await inParallel(holders, (session) => takeOver(parts, session));
  // Only a database that was lost, or damaged in part, leaves workers without a record, for each is recorded before it starts: then they come first.
  if (registry.isNew) await rebuildUnknown(parts);
  for (const session of waiting) await takeOver(parts, session);
  failpoint('recovery.before-ready');
  if (open.length > 0) log.info({ sessions: open.length }, 'the sessions of before were taken over');
  nameMute(parts);
}

/** Their tokens, or their marks, are of an id or a key that somebody took away. */
function nameMute(parts: RecoveryParts): void {
  const { deps } = parts;
  const mute = parts.sessions.all().filter((one) => {
    const worker = workerOf(one);
    return !isEnded(one) && worker !== null && !worker.treeGone && isMute(deps, worker.process);
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

async function takeOver(parts: RecoveryParts, session: Session): Promise<void> {
  try {
    await recoverOne(parts, session, workerOf(session)?.process ?? reservedWorker(session)?.process ?? null);
  } catch (error) {
    parts.deps.log.error(
      { session: session.spec.id, error: messageOf(error) },
      'a session could not be taken over yet; the search for its worker is tried again',
    );
    adopt(parts, session, { kind: 'not_searched' });
    searchAgainLater(parts, session.spec.id);
  }
}

/** On a full disk for example. The session is known and keeps its allocation until its worker is found, or found to be gone. */
function searchAgainLater(parts: RecoveryParts, id: SessionId): void {
  const { deps, sessions } = parts;
  deps.clock.at(deps.clock.now().bootMs + RECOVERY.againMs, () => {
    const session = sessions.state(id);
    const worker = session === null ? null : workerOf(session);
    // The worker of a session that waits is searched for when the session has begun.
    if (session !== null && reservedWorker(session) !== null) return searchAgainLater(parts, id);
    if (session === null || worker === null || worker.treeGone) return;
    search(parts, worker.id, worker.process).then(
      (found) => sessions.post(id, { type: 'adopted', found, isRetry: true }),
      (error: unknown) => {
        deps.log.debug({ session: id, error: messageOf(error) }, 'a session could still not be taken over');
        searchAgainLater(parts, id);
      },
    );
  });
}

async function inParallel<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < all.length; at += RECOVERY.atOnce)
    await Promise.all(all.slice(at, at + RECOVERY.atOnce).map(work));
}

/** `known`: the process on record, of the session or of its worker's folder; null: none. */
async function recoverOne(
  parts: RecoveryParts,
  session: Session,
  known: WorkerProcess | null,
): Promise<void> {
  const { id } = session.spec;
  const found = await foundOf(parts, session, known);
  adopt(parts, session, found);
  // An ended worker must not be shown as live when the first question comes.
  const isAlive = found.kind === 'present' && found.exit === null && session.phase.name !== 'queued';
  if (!isAlive && found.kind !== 'no_worker') await parts.sessions.idle(id);
  if (found.kind === 'no_worker') requeue(parts, session);
}

/** Opens the session, unless it is open already, and tells it what was found. */
function adopt(parts: RecoveryParts, session: Session, found: Found): void {
  const { id } = session.spec;
  const isRetry = parts.sessions.state(id) !== null;
  if (!isRetry) parts.steps.open(session);
  parts.sessions.post(id, { type: 'adopted', found, isRetry });
}

async function foundOf(parts: RecoveryParts, session: Session, known: WorkerProcess | null): Promise<Found> {
  const { instance, clock } = parts.deps;
  if (isOfAnotherBoot(session, known, { bootId: instance.bootId, nowMs: clock.now().bootMs }))
    return { kind: 'other_boot' };
  const worker = workerOf(session);
  const reserved = reservedWorker(session);
  if (reserved !== null) return search(parts, reserved.id, reserved.process);
  if (worker === null || worker.treeGone) return { kind: 'no_worker' };
  // Before the session's timers run: the worker must be known when they signal it.
  failpoint('recovery.before-adoption');
  const found = await search(parts, worker.id, known);
  failpoint('recovery.adopted');
  return found;
}

async function search(parts: RecoveryParts, id: WorkerId, known: WorkerProcess | null): Promise<Found> {
  const found = await parts.workers.adopt(id, known);
  if (found === null) return { kind: 'absent' };
  const { process, exit } = found;
  return { kind: 'present', process, exit, isMute: isMute(parts.deps, process) };
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
export async function rebuildUnknown(parts: RecoveryParts): Promise<void> {
  const { log, table } = parts.deps;
  try {
    const { workerIds } = await table.scan();
    const known = new Set(parts.sessions.all().flatMap((one) => workerOf(one)?.id ?? []));
    for (const id of workerIds.filter((one) => !known.has(one))) await rebuildOne(parts, id);
  } catch (error) {
    log.error({ error: messageOf(error) }, 'workers without a record could not be looked for');
  }
}

async function rebuildOne(parts: RecoveryParts, id: WorkerId): Promise<void> {
  const { log, registry, records } = parts.deps;
  try {
    // A warm one without a session is taken back by the pool.
    if (isWarmId(id) && (await records.readWarm(id)) !== null) return;
    const session = isWarmId(id) ? (await records.read(id))?.session.spec.id : sessionOfWorker(id);
    // Begun meanwhile, or of a session that has ended or goes on with another worker: that is the sweep's to judge.
    if (
      session !== undefined &&
      (parts.sessions.state(session) !== null || (await registry.get(session)) !== null)
    )
      return;
    if (await rebuild(parts, id)) return;
    log.error({ worker: id }, 'a worker runs that no record explains; it is left: see `curfew cleanup`');
  } catch (error) {
    log.error(
      { worker: id, error: messageOf(error) },
      'a worker runs that could not be taken over; it is left',
    );
  }
}

/** False: its folder does not say enough. */
async function rebuild(parts: RecoveryParts, id: WorkerId): Promise<boolean> {
  const { registry, records, log } = parts.deps;
  const record = await records.read(id);
  if (record === null || isEnded(record.session) || workerOf(record.session)?.id !== id) return false;
  const { session, process } = record;
  await registry.create({ session, claim: allocationOf(session)?.claim ?? null });
  await recoverOne(parts, session, workerOf(session)?.process ?? process);
  log.warn({ session: session.spec.id, worker: id }, 'a session was rebuilt from the folder of its worker');
  return true;
}

/** It waits again, behind those that are running; its time in the queue begins anew. */
function requeue(parts: RecoveryParts, session: Session): void {
  const { spec, phase } = session;
  // Admitted before, and only paced by the start rate: its place is its own.
  if (phase.name !== 'queued' || phase.grant !== null) {
    parts.sessions.post(spec.id, { type: 'tick' });
    return;
  }
  const answer = parts.admission.request({
    sessionId: spec.id,
    claim: spec.claim,
    quotas: quotasOf(spec),
    mayQueue: spec.unasked !== true,
  });
  if (answer.kind === 'granted')
    parts.sessions.post(spec.id, {
      type: 'granted',
      startAtMs: answer.startAtMs,
      workerId: firstWorkerId(spec.id),
    });
  if (answer.kind === 'full' || answer.kind === 'taken')
    parts.sessions.post(spec.id, {
      type: 'expired',
      detail: 'the supervisor was restarted and its place was gone',
    });
}
