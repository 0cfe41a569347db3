/** No mass end: many inferred endings at once are more likely our own blindness than everybody's hang-up. */
import { MASS_END } from '../../lib/limits/session-limits.ts';
import type { SessionId } from '../ids.ts';
import type { Allocation } from './allocation.ts';

export interface Budget {
  /** Inferred endings that were granted within the window. */
  readonly granted: readonly { readonly sessionId: SessionId; readonly atMs: number }[];
}

export const NEW_BUDGET: Budget = { granted: [] };

/**
 * A first asking is judged with all that are about to ask, so that of sixty the first five do not slip through.
 * One that was held, looked at afresh and still holds (`again`) is let go at the allowed rate.
 */
export function askBudget(
  budget: Budget,
  asked: { sessionId: SessionId; again: boolean; holders: ReadonlyMap<SessionId, Allocation>; nowMs: number },
): { budget: Budget; granted: boolean } {
  const { sessionId, nowMs } = asked;
  const granted = budget.granted.filter((one) => nowMs - one.atMs < MASS_END.windowMs);
  const others = [...asked.holders.values()].filter(
    (one) =>
      one.live && one.sessionId !== sessionId && !granted.some((gone) => gone.sessionId === one.sessionId),
  );
  const coming = asked.again ? [] : others.filter((one) => isComing(one, nowMs));
  const ending = granted.length + coming.length + 1;
  const held = ending > MASS_END.count && ending > MASS_END.share * (others.length + granted.length + 1);
  return held
    ? { budget: { granted }, granted: false }
    : { budget: { granted: [...granted, { sessionId, atMs: nowMs }] }, granted: true };
}

function isComing({ inferredDueMs }: Allocation, nowMs: number): boolean {
  return inferredDueMs !== null && inferredDueMs <= nowMs + MASS_END.aheadMs;
}
