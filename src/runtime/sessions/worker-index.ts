/** The session of each worker: the worker belongs to the session, or is reserved for it. */
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { reservedWorker, workerOf } from '../../core/model/session.ts';

export class WorkerIndex {
  readonly #owners = new Map<WorkerId, SessionId>();

  /** Adds the worker that the session has now, and the warm worker that is reserved for it. */
  note(session: Session): void {
    const worker = workerOf(session);
    if (worker !== null) this.#owners.set(worker.id, session.spec.id);
    const reserved = reservedWorker(session);
    if (reserved !== null) this.#owners.set(reserved.id, session.spec.id);
  }

  /** Race: a warm worker can end before the session's next step takes it. The session must learn of that end. */
  reserve(worker: WorkerId, session: SessionId): void {
    this.#owners.set(worker, session);
  }

  /** The session does not take the worker. */
  release(worker: WorkerId, session: SessionId): void {
    if (this.of(worker) === session) this.#owners.delete(worker);
  }

  of(worker: WorkerId): SessionId | null {
    return this.#owners.get(worker) ?? null;
  }

  /** Whether a session in memory has this worker, or the worker is reserved for it. */
  has(worker: WorkerId): boolean {
    return this.#owners.has(worker);
  }

  forget(session: SessionId): void {
    for (const [owned, owner] of this.#owners) if (owner === session) this.#owners.delete(owned);
  }
}
