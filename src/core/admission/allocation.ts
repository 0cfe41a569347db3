/** The shared resources that a session holds. They are derived from its state, so that a restart can rebuild them. */

import type { ClaimKey, SessionId } from '../ids.ts';
import { claimKey } from '../ids.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { isIn, staleAtMs } from '../model/session.ts';
import { isTreeGone } from '../model/worker.ts';
import { absences } from '../session/absence.ts';
import { hasPassedClaim } from '../teardown/finishing.ts';
import { quotasOf } from './quotas.ts';

export interface Allocation {
  readonly sessionId: SessionId;
  /** null: the claim is free, because the teardown is over or the agent can no longer be in the room. */
  readonly claim: ClaimKey | null;
  /** The teardown will free the claim. A new session may wait for it. */
  readonly closing: boolean;
  /** The teardown is over and the worker lives. It is unknown when the claim will be free. */
  readonly unkillable: boolean;
  /** Names of the quotas of which the session holds a slot. Empty as soon as the tree is gone. */
  readonly quotas: readonly string[];
  readonly live: boolean;
  /** When the next inferred ending is due, for the mass-end budget; null: none is armed. */
  readonly inferredDueMs: number | null;
}

/** null: the session holds nothing. A queued session holds only its place in the queue. */
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
      return { ...base, claim: claimOf(session), closing: true, quotas: closingQuotas(session) };
    case 'ended':
      return isUnkillable(session)
        ? {
            ...base,
            quotas: heldQuotas(session),
            claim: claimOf(session) ?? leftoverClaim(session),
            closing: true,
            unkillable: true,
          }
        : null;
  }
}

/** Whether admission sees the same. `inferredDueMs` is left out, because the budget reads it at the moment of each request. */
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

function claimOf(session: Session): ClaimKey | null {
  return hasPassedClaim(session) ? null : session.spec.claim;
}

/**
 * An unkillable session that passed its claim on holds a claim that no other session asks for.
 * Because: the registry gives a restarted supervisor an ended session only for its claim, and its tree still lives.
 */
function leftoverClaim({ spec }: Session): ClaimKey {
  return claimKey(spec.room, `unkillable:${spec.id}`);
}

function closingQuotas(session: Session): readonly string[] {
  const { phase } = session;
  if (phase.name !== 'closing' || phase.worker === null || isTreeGone(phase.worker)) return [];
  // A wrap-up without a caller frees the user's slot, so that the user can call again.
  return heldQuotas(session).filter((name) => !phase.ladder.wrapUp || !name.startsWith('user:'));
}

/** Once the claim has passed on, the next session of the call needs the slots of its agent and of its user. */
function heldQuotas(session: Session): readonly string[] {
  const all = quotasOf(session.spec);
  return hasPassedClaim(session) ? all.filter((name) => name === 'host') : all;
}

/** The session has ended and its worker lives, because no signal ended the worker. */
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
