/** A warm worker between the pool and the session that it is kept for. */

import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session, WorkerProcess } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import type { Clock } from '../../ports/clock.ts';

/** What a session is given. */
export interface Warm {
  readonly id: WorkerId;
  readonly process: WorkerProcess;
}

/** As capacity shows it. */
export interface WarmView {
  readonly agent: string;
  readonly wanted: number;
  readonly ready: number;
  readonly starting: number;
  readonly crashes: number;
  readonly lastCrash: string | null;
  readonly notBeforeMs: number;
}

/** The warm worker that is kept for a session which has not begun. */
export function reservedWorker({ phase }: Session): Warm | null {
  if (phase.name !== 'queued' || phase.grant === null || phase.grant.warm == null) return null;
  return { id: phase.grant.workerId, process: phase.grant.warm };
}

function holdsWorker(session: Session, id: WorkerId): boolean {
  return workerOf(session)?.id === id || reservedWorker(session)?.id === id;
}

/** What a step of a session means for the worker that was kept for it, also where it was promised and begun in one. */
export function settleWarmWorker(
  pool: { given(id: WorkerId): void; giveBack(id: WorkerId, session: SessionId): void },
  before: Session,
  after: Session,
): void {
  const worker = workerOf(after);
  if (worker !== null && worker.id !== workerOf(before)?.id) pool.given(worker.id);
  const reserved = reservedWorker(before);
  if (reserved !== null && !holdsWorker(after, reserved.id)) pool.giveBack(reserved.id, before.spec.id);
}

interface GrantParts {
  readonly clock: Clock;
  readonly pool: { giveBack(id: WorkerId, session: SessionId): void };
  readonly sessions: {
    state(id: SessionId): Session | null;
    post(id: SessionId, event: SessionEvent): void;
    idle(id: SessionId): Promise<void>;
  };
}

/** The turn of a session that waited has come, and one is kept for it; its end may have come first. */
export async function grantWarm(
  { clock, pool, sessions }: GrantParts,
  id: SessionId,
  warm: Warm,
): Promise<void> {
  const nowMs = clock.now().bootMs;
  sessions.post(id, { type: 'granted', startAtMs: nowMs, workerId: warm.id, warm: warm.process });
  await sessions.idle(id);
  const session = sessions.state(id);
  if (session === null || !holdsWorker(session, warm.id)) pool.giveBack(warm.id, id);
}
