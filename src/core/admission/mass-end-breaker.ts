/** Holds mass ends. Because: many inferred endings at once are more likely a fault of observation than real hang-ups. */
import { MASS_END } from '../../lib/limits/session-limits.ts';
import type { SessionId } from '../ids.ts';
import type { Allocation } from './allocation.ts';

export interface Budget {
  /** The inferred endings that were granted within the window. */
  readonly granted: readonly { readonly sessionId: SessionId; readonly atMs: number }[];
}

export const NEW_BUDGET: Budget = { granted: [] };

/**
 * A first request counts with all endings that are due soon. Otherwise the first five of sixty would be granted.
 * `again`: the ending was held and a new poll confirmed it. Such endings are granted at the allowed rate.
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
