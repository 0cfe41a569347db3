/** The three names of each limit of a session: in the API it is the key itself. */
import type { LimitName } from '../src/lib/limits/session-limits.ts';

export const LIMIT_NAMES: Readonly<Record<LimitName, { config: string; option: string }>> = {
  maxDurationMs: { config: 'max_duration', option: '--max-duration' },
  activityIdleTimeoutMs: { config: 'idle_timeout', option: '--idle-timeout' },
  noActiveStreamMs: { config: 'no_active_stream', option: '--no-active-stream' },
  startTimeoutMs: { config: 'start_timeout', option: '--start-timeout' },
  noCallerMs: { config: 'no_caller', option: '--no-caller' },
  callersLostMs: { config: 'callers_lost', option: '--callers-lost' },
  callersLeftMs: { config: 'callers_left', option: '--callers-left' },
  errorLimit: { config: 'error_limit', option: '--error-limit' },
};
