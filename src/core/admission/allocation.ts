/** What a session holds of the shared: derived from its state, so that it can be rebuilt after any restart. */

import type { ClaimKey, SessionId } from '../ids.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { isIn } from '../model/session.ts';
import { isTreeGone } from '../model/worker.ts';
import { absences } from '../session/absence.ts';
import { staleAtMs } from '../session/inference.ts';
import { quotasOf } from './quotas.ts';

export interface Allocation {
  readonly sessionId: SessionId;
  /** null: given up, the ladder's last step is over. */
  readonly claim: ClaimKey | null;
  /** The claim will be free without anybody's doing: whoever comes may wait for it. */
  readonly closing: boolean;
  /** Its ladder is over and its worker lives: when the claim will be free nobody knows. */
  readonly unkillable: boolean;
  /** Names of the quotas of which it holds a place. Empty as soon as the tree is gone. */
  readonly quotas: readonly string[];
  readonly live: boolean;
  /** The soonest inferred ending that is coming, for the mass-end budget; null: none. */
  readonly inferredDueMs: number | null;
}

/** null: nothing at all. A session in the queue holds nothing yet but its place. */
export function allocationOf(session: Session): Allocation | null {
  const { phase, spec } = session;
  const base = {
    sessionId: spec.id,
    claim: spec.claim,
    closing: false,
    unkillable: false,
    quotas: quotasOf(spec),
    live: false,
    inferredDueMs: null,
  };
  switch (phase.name) {
    case 'queued':
      return phase.grant === null ? null : base;
    case 'starting':
      return base;
    case 'live':
      return { ...base, live: true, inferredDueMs: isIn(session, 'live') ? inferredDueMs(session) : null };
    case 'closing':
      return { ...base, closing: true, quotas: closingQuotas(session) };
    case 'ended':
      return isUnkillable(session) ? { ...base, closing: true, unkillable: true } : null;
  }
}

/** For admission the same; when an inferred ending is due is read afresh where it counts. */
export function sameAllocation(a: Allocation | null, b: Allocation | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.claim === b.claim &&
    a.closing === b.closing &&
    a.unkillable === b.unkillable &&
    a.live === b.live &&
    a.quotas.length === b.quotas.length
  );
}

function closingQuotas({ phase, spec }: Session): readonly string[] {
  if (phase.name !== 'closing' || phase.worker === null || isTreeGone(phase.worker)) return [];
  // Wrapping up without a caller must not keep its user from calling again.
  return quotasOf(spec).filter((name) => !phase.ladder.wrapUp || !name.startsWith('user:'));
}

/** Ended, and yet its worker lives on: nothing killed it. */
export function isUnkillable({ phase }: Session): boolean {
  if (phase.name !== 'ended' || phase.ending.reason !== 'unkillable') return false;
  return phase.worker !== null && !isTreeGone(phase.worker);
}

function inferredDueMs(session: SessionIn<'live'>): number | null {
  const { vitals } = session;
  const times = absences(session)
    .filter((one) => one.inferred)
    .map((one) => one.dueMs);
  const staleMs = staleAtMs(session);
  if (vitals.idleAtMs !== null) times.push(vitals.idleAtMs);
  if (staleMs !== null) times.push(staleMs);
  return times.length === 0 ? null : Math.min(...times);
}
