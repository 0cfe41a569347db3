/**
 * Recovery at a start: every session on record that had not ended is matched with the processes, before curfew accepts anything new.
 *
 * - The worker runs: the session adopts the same process. Its maximum duration goes on; deadlines of silence, absence, start and steps begin again.
 * - The worker ended while no supervisor ran: the session closes with the true exit status.
 * - Only the intent to start is on record: the claim file decides whether the worker started. It never starts twice.
 * - The session is of another boot: it ends as lost with its host.
 * - The session has ended with an unkillable worker: it keeps its allocation, and the worker gets SIGKILL again.
 * - A worker runs that the registry does not know: the session is rebuilt from the worker's folder. Without a record there, the worker
 *   is left and logged.
 *
 * Each step may be repeated: when a supervisor dies here, the next one does the same again.
 */

import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf } from '../../core/admission/allocation.ts';
import { quotasOf } from '../../core/admission/quotas.ts';
import type { SessionId, WorkerId } from '../../core/ids.ts';
import { firstWorkerId, isWarmId, isZygoteId, sessionOfWorker } from '../../core/ids.ts';
import type { Found } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, reservedWorker, workerOf } from '../../core/model/session.ts';
import type { WorkerProcess } from '../../core/model/worker.ts';
import { isTreeGone, processOf } from '../../core/model/worker.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { RECOVERY, TICK_MS } from '../../lib/limits/worker-limits.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';

type RecoveryParts = Pick<SupervisorParts, 'deps' | 'sessions' | 'transitions' | 'workers' | 'admission'>;

export async function recover(parts: RecoveryParts): Promise<void> {
  const { log, registry } = parts.deps;
  const open = await registry.open();
  failpoint('recovery.opened');
  const holders: Session[] = [];
  const allocations: Allocation[] = [];
  const waiting: Session[] = [];
  for (const session of open) {
    const allocation = allocationOf(session);
    if (allocation === null) waiting.push(session);
    else {
      holders.push(session);
      allocations.push(allocation);
    }
  }
  parts.admission.restore(allocations);
  // Sessions without an allocation come last: by then admission knows every allocation.
  await inParallel(holders, (session) => recoverOrRetry(parts, session));
  // Each worker is recorded before it starts. Only a lost or damaged database leaves workers without a record. They come before the queue.
  if (registry.isNew) await rebuildUnknown(parts);
  for (const session of waiting) await recoverOrRetry(parts, session);
  failpoint('recovery.before-ready');
  if (open.length > 0)
    log.info({ sessions: open.length }, 'the sessions of the earlier supervisor were adopted');
  logMute(parts);
}

/** Logs the sessions with a mute worker: its token or its mark is of an instance id or a key that was removed. */
function logMute(parts: RecoveryParts): void {
  const { deps } = parts;
  const mute = parts.sessions.all().filter((one) => {
    const worker = workerOf(one);
    return !isEnded(one) && worker !== null && !isTreeGone(worker) && isMute(deps, processOf(worker));
  });
  if (mute.length > 0)
    deps.log.error(
      { sessions: mute.map((one) => one.spec.id), stateDir: deps.instance.stateDir },
      'instance.id or master.key is newer than these calls: their workers cannot reconnect or send messages; the calls continue until another reason ends them',
    );
}

/** Whether the worker started before this instance's id and key were created. */
function isMute({ instance, clock }: SupervisorDeps, process: WorkerProcess | null): boolean {
  const { bootMs, wallMs } = clock.now();
  const createdMs = bootMs - (wallMs - instance.madeWallMs);
  return process !== null && (process.shim.startTicks + 1) * TICK_MS < createdMs;
}

async function recoverOrRetry(parts: RecoveryParts, session: Session): Promise<void> {
  try {
    await recoverOne(
      parts,
      session,
      processOf(workerOf(session)) ?? reservedWorker(session)?.process ?? null,
    );
  } catch (error) {
    parts.deps.log.error(
      { session: session.spec.id, error: messageOf(error) },
      'a session could not be adopted yet; the search for its worker is tried again',
    );
    postAdopted(parts, session, { kind: 'not_searched' });
    searchAgainLater(parts, session.spec.id);
  }
}

/** A search fails on a full disk, for example. The session keeps its allocation until its worker is found, or is known to be gone. */
function searchAgainLater(parts: RecoveryParts, id: SessionId): void {
  const { deps, sessions } = parts;
  deps.clock.at(deps.clock.now().bootMs + RECOVERY.againMs, () => {
    const session = sessions.state(id);
    const worker = session === null ? null : workerOf(session);
    // A queued session's reserved worker is searched for after the session has begun.
    if (session !== null && reservedWorker(session) !== null) return searchAgainLater(parts, id);
    if (session === null || worker === null || isTreeGone(worker)) return;
    search(parts, worker.id, processOf(worker)).then(
      (found) => sessions.post(id, { type: 'adopted', found, retryOf: worker.id }),
      (error: unknown) => {
        deps.log.debug({ session: id, error: messageOf(error) }, 'a session could still not be adopted');
        searchAgainLater(parts, id);
      },
    );
  });
}

async function inParallel<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < all.length; at += RECOVERY.atOnce)
    await Promise.all(all.slice(at, at + RECOVERY.atOnce).map(work));
}

/** `known`: the process on record, from the session or from its worker's folder; null: none is on record. */
async function recoverOne(
  parts: RecoveryParts,
  session: Session,
  known: WorkerProcess | null,
): Promise<void> {
  const { id } = session.spec;
  const found = await foundOf(parts, session, known);
  postAdopted(parts, session, found);
  // The first request must not show an ended worker as live.
  const isAlive = found.kind === 'present' && found.exit === null && session.phase.name !== 'queued';
  if (!isAlive && found.kind !== 'no_worker') await parts.sessions.idle(id);
  if (found.kind === 'no_worker') requeue(parts, session);
}

/** Opens the session and posts the result of the search. A session that is open already has its result. */
function postAdopted(parts: RecoveryParts, session: Session, found: Found): void {
  const { id } = session.spec;
  if (parts.sessions.state(id) !== null) return;
  parts.transitions.open(session);
  parts.sessions.post(id, { type: 'adopted', found, retryOf: null });
}

async function foundOf(parts: RecoveryParts, session: Session, known: WorkerProcess | null): Promise<Found> {
  const { instance, clock } = parts.deps;
  if (isOfAnotherBoot(session, known, { bootId: instance.bootId, nowMs: clock.now().bootMs }))
    return { kind: 'other_boot' };
  const worker = workerOf(session);
  const reserved = reservedWorker(session);
  if (reserved !== null) return search(parts, reserved.id, reserved.process);
  if (worker === null || isTreeGone(worker)) return { kind: 'no_worker' };
  // The search comes before the session's timers run, because their signals need a known worker.
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
  const recordedBootId = known?.shim.bootId ?? spec.bootId;
  // An older record has no boot id. Then a creation in the future of this boot's clock proves another boot.
  return recordedBootId === undefined ? spec.createdAt.bootMs > nowMs : recordedBootId !== bootId;
}

/** Rebuilds the sessions of living workers that no open session explains, as after the loss of the database. Never rejects. */
export async function rebuildUnknown(parts: RecoveryParts): Promise<void> {
  const { log, table } = parts.deps;
  try {
    const { workerIds } = await table.scan();
    const known = new Set(parts.sessions.all().flatMap((one) => workerOf(one)?.id ?? []));
    for (const id of workerIds.filter((one) => !known.has(one))) await rebuildOne(parts, id);
  } catch (error) {
    log.error({ error: messageOf(error) }, 'the search for workers without a record failed');
  }
}

async function rebuildOne(parts: RecoveryParts, id: WorkerId): Promise<void> {
  const { log, registry, records } = parts.deps;
  try {
    // A zygote has no session. Its pool has it, or the next cleanup ends it.
    if (isZygoteId(id)) return;
    // The pool takes back a warm worker without a session.
    if (isWarmId(id) && (await records.readWarm(id)) !== null) return;
    const session = isWarmId(id) ? (await records.read(id))?.session.spec.id : sessionOfWorker(id);
    // The session began meanwhile, has ended, or continues with another worker. The cleanup judges that worker.
    if (
      session !== undefined &&
      (parts.sessions.state(session) !== null || (await registry.get(session)) !== null)
    )
      return;
    if (await rebuild(parts, id)) return;
    log.error(
      { worker: id },
      'a worker runs that no record explains; curfew leaves it: see `curfew cleanup`',
    );
  } catch (error) {
    log.error(
      { worker: id, error: messageOf(error) },
      'a worker runs that could not be adopted; curfew leaves it',
    );
  }
}

/** false: the worker's folder has too little for a session. */
async function rebuild(parts: RecoveryParts, id: WorkerId): Promise<boolean> {
  const { registry, records, log } = parts.deps;
  const record = await records.read(id);
  if (record === null || isEnded(record.session) || workerOf(record.session)?.id !== id) return false;
  const { session, process } = record;
  // A folder that names another session's id is damaged.
  if (!isWarmId(id) && sessionOfWorker(id) !== session.spec.id) return false;
  await registry.create({ session, claim: allocationOf(session)?.claim ?? null });
  await recoverOne(parts, session, processOf(workerOf(session)) ?? process);
  log.warn({ session: session.spec.id, worker: id }, 'a session was rebuilt from the folder of its worker');
  return true;
}

/** Puts a waiting session back into the queue, behind the sessions that run. Its time in the queue starts again. */
function requeue(parts: RecoveryParts, session: Session): void {
  const { spec, phase } = session;
  // A session with a grant was admitted before, and waits only for the start rate. It keeps its slots.
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
      detail: 'the supervisor was restarted, and the slot or the room was taken by then',
    });
}
