/** A warm worker between the pool and the session that it is kept for. */
import type { WorkerId } from '../core/ids.ts';
import type { Session, WorkerProcess } from '../core/session.ts';
import { workerOf } from '../core/session.ts';

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
export function reservedBy({ phase }: Session): Warm | null {
  if (phase.name !== 'queued' || phase.grant === null || phase.grant.warm == null) return null;
  return { id: phase.grant.workerId, process: phase.grant.warm };
}

/** What a step of a session means for the worker that was kept for it. */
export function passOn(
  pool: { given(id: WorkerId): void; giveBack(id: WorkerId): void },
  before: Session,
  after: Session,
): void {
  const reserved = reservedBy(before);
  if (reserved === null || reservedBy(after)?.id === reserved.id) return;
  if (workerOf(after)?.id === reserved.id) pool.given(reserved.id);
  else pool.giveBack(reserved.id);
}
