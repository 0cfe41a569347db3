/** Which session each worker belongs to, or is kept for. */
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import { reservedWorker } from '../workers/warm-handoff.ts';

export class WorkerIndex {
  readonly #owners = new Map<WorkerId, SessionId>();

  /** Notes the worker that the session has now. */
  note(session: Session): void {
    const worker = workerOf(session);
    if (worker !== null) this.#owners.set(worker.id, session.spec.id);
    const reserved = reservedWorker(session);
    if (reserved !== null) this.#owners.set(reserved.id, session.spec.id);
  }

  of(worker: WorkerId): SessionId | null {
    return this.#owners.get(worker) ?? null;
  }

  /** Whether a session that is open, or still holds something, has this worker or was promised it. */
  has(worker: WorkerId): boolean {
    return this.#owners.has(worker);
  }

  forget(session: SessionId): void {
    for (const [owned, owner] of this.#owners) if (owner === session) this.#owners.delete(owned);
  }
}
