/** No mass end: many inferred endings at once are more likely our own blindness than everybody's hang-up. */
import { MASS_END } from '../limits.ts';
import type { Holding } from './holdings.ts';
import type { SessionId } from './ids.ts';

export interface Budget {
  /** When inferred endings were granted, within the window. */
  readonly grantedMs: readonly number[];
}

export const NEW_BUDGET: Budget = { grantedMs: [] };

/**
 * A first asking is judged with all that are about to ask, so that of sixty the first five do not slip through.
 * One that was held, looked at afresh and still holds (`again`) is let go at the allowed rate.
 */
export function askBudget(
  budget: Budget,
  asked: { sessionId: SessionId; again: boolean; holders: ReadonlyMap<SessionId, Holding>; nowMs: number },
): { budget: Budget; granted: boolean } {
  const { nowMs } = asked;
  const grantedMs = budget.grantedMs.filter((at) => nowMs - at < MASS_END.windowMs);
  const live = [...asked.holders.values()].filter((one) => one.live);
  const coming = asked.again
    ? []
    : live.filter((one) => one.sessionId !== asked.sessionId && isComing(one, nowMs));
  const ending = grantedMs.length + coming.length + 1;
  const held = ending > MASS_END.count && ending > MASS_END.share * (live.length + grantedMs.length);
  return held
    ? { budget: { grantedMs }, granted: false }
    : { budget: { grantedMs: [...grantedMs, nowMs] }, granted: true };
}

function isComing({ inferredDueMs }: Holding, nowMs: number): boolean {
  return inferredDueMs !== null && inferredDueMs <= nowMs + MASS_END.aheadMs;
}
