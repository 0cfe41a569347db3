/** Exit codes of `curfew run` and `curfew dispatch --wait`: 0 for released, and one code for each reason of a failure. */
import type { SessionView } from '../api/session-schemas.ts';
import { FAILED_REASONS } from '../core/model/reasons.ts';

const FIRST_FAILURE = 10;
/** Exit codes of `curfew dispatch --wait` alone. */
const WAITED = { tooLong: 8, neverLive: 9 } as const;

/** 1: the session failed, but its reason has no code. */
export function exitCodeOf({ state, reason }: Pick<SessionView, 'state' | 'reason'>): number {
  if (state === 'released') return 0;
  const at = (FAILED_REASONS as readonly (string | null)[]).indexOf(reason);
  return at === -1 ? 1 : FIRST_FAILURE + at;
}

/** `session`: at the end of the wait. A closing session already has its reason. `wanted`: `live` or `ended`. */
export function exitCodeOfWait(
  { state, reason, liveAt }: Pick<SessionView, 'state' | 'reason' | 'liveAt'>,
  wanted: string,
): number {
  if (state === 'live') return wanted === 'live' ? 0 : WAITED.tooLong;
  if (reason === null || (wanted !== 'live' && state === 'closing')) return WAITED.tooLong;
  if ((FAILED_REASONS as readonly string[]).includes(reason)) return exitCodeOf({ state: 'failed', reason });
  return wanted === 'live' && liveAt === null ? WAITED.neverLive : 0;
}
