/** What `curfew run` exits with: 0 for released, and one code per way to fail. */
import type { SessionView } from '../api.ts';
import { FAILED_REASONS } from '../core/session.ts';

const FIRST_FAILURE = 10;

export function exitCodeOf({ state, reason }: Pick<SessionView, 'state' | 'reason'>): number {
  if (state === 'released') return 0;
  const at = (FAILED_REASONS as readonly (string | null)[]).indexOf(reason);
  return at === -1 ? 1 : FIRST_FAILURE + at;
}
