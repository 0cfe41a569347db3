/** What `curfew run` and `curfew dispatch --wait` exit with: 0 for released, and one code per way to fail. */
import type { SessionView } from '../api/session-schemas.ts';
import { FAILED_REASONS } from '../core/model/reasons.ts';

const FIRST_FAILURE = 10;
/** Exits of `curfew dispatch --wait` alone. */
const WAITED = { tooLong: 8, neverLive: 9 } as const;

export function exitCodeOf({ state, reason }: Pick<SessionView, 'state' | 'reason'>): number {
  if (state === 'released') return 0;
  const at = (FAILED_REASONS as readonly (string | null)[]).indexOf(reason);
  return at === -1 ? 1 : FIRST_FAILURE + at;
}

/** By what the session was when the wait was over. One that is closing has its reason already. */
export function exitCodeOfWait(
  { state, reason, liveAt }: Pick<SessionView, 'state' | 'reason' | 'liveAt'>,
  wanted: string,
): number {
  if (state === 'live') return wanted === 'live' ? 0 : WAITED.tooLong;
  if (reason === null || (wanted !== 'live' && state === 'closing')) return WAITED.tooLong;
  if ((FAILED_REASONS as readonly string[]).includes(reason)) return exitCodeOf({ state: 'failed', reason });
  return wanted === 'live' && liveAt === null ? WAITED.neverLive : 0;
}
