/** The handover of a warm worker from the pool to the session that it is reserved for. */

import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session, Warm } from '../../core/model/session.ts';
import { reservedWorker, wantsStart, workerOf } from '../../core/model/session.ts';
import type { Clock } from '../../ports/clock.ts';

/** The warm workers of one agent, as the capacity shows them. */
export interface WarmView {
  readonly agent: string;
  readonly wanted: number;
  readonly ready: number;
  readonly starting: number;
  readonly crashes: number;
  readonly lastCrash: string | null;
  /** On the boot clock. No warm worker starts before this. */
  readonly notBeforeMs: number;
}

function holdsWorker(session: Session, id: WorkerId): boolean {
  return workerOf(session)?.id === id || reservedWorker(session)?.id === id;
}

interface SettleParts {
  readonly pool: {
    handOver(id: WorkerId): boolean;
    giveBack(id: WorkerId, session: SessionId): void;
  };
  readonly sessions: { post(id: SessionId, event: SessionEvent): void };
}

/** Updates the pool after a step of a session: the session took its warm worker, or does not need it any more. One step may reserve and take it. */
export function settleWarmWorker({ pool, sessions }: SettleParts, before: Session, after: Session): void {
  const worker = workerOf(after);
  // Race: the pool alone hears that a reserved worker loses its connection.
  if (worker !== null && worker.id !== workerOf(before)?.id && !pool.handOver(worker.id))
    sessions.post(after.spec.id, { type: 'channel', workerId: worker.id, open: false });
  const reserved = reservedWorker(before);
  if (reserved !== null && !holdsWorker(after, reserved.id)) pool.giveBack(reserved.id, before.spec.id);
}

interface ReplaceParts {
  readonly pool: {
    take(profile: Profile, session: SessionId): Warm | null;
    giveBack(id: WorkerId, session: SessionId): void;
  };
  readonly workerIndex: {
    reserve(worker: WorkerId, session: SessionId): void;
    release(worker: WorkerId, session: SessionId): void;
  };
  readonly sessions: GrantParts['sessions'];
}

/** A warm worker takes the place of the replacement `next`. false: none is ready, or the session ended first. */
export async function replaceByWarm(
  { pool, workerIndex, sessions }: ReplaceParts,
  { spec: { id, profile } }: Session,
  next: WorkerId,
): Promise<boolean> {
  const current = sessions.state(id);
  const isWanted = current?.phase.name === 'live' && wantsStart(current, next);
  const warm = isWanted ? pool.take(profile, id) : null;
  if (warm === null) return false;
  workerIndex.reserve(warm.id, id);
  sessions.post(id, { type: 'warm_taken', workerId: next, warm });
  await sessions.idle(id);
  const session = sessions.state(id);
  if (session !== null && holdsWorker(session, warm.id)) return true;
  workerIndex.release(warm.id, id);
  pool.giveBack(warm.id, id);
  return false;
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

/** Grants a queued session its warm worker. Race: the session can end first. Then the worker goes back to the pool. */
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
