/** The wait after crashes of workers that have no session: warm workers and zygotes. */
import { BACKOFF, DEADLINES } from '../../lib/limits/session-limits.ts';

export interface Crashes {
  /** Crashes in a row. */
  readonly crashes: number;
  readonly lastCrash: string | null;
  readonly lastCrashMs: number | null;
  /** No worker is started before then. */
  readonly notBeforeMs: number;
}

export const NO_CRASHES: Crashes = { crashes: 0, lastCrash: null, lastCrashMs: null, notBeforeMs: 0 };

/** Counts a worker that died or was never ready. After a minute without one, the count begins at 1 again. */
export function noteCrash<T extends Crashes>(pool: T, why: string, nowMs: number): T {
  const isQuiet = pool.lastCrashMs === null || nowMs - pool.lastCrashMs > DEADLINES.errorResetMs;
  const crashes = isQuiet ? 1 : pool.crashes + 1;
  const waitMs = Math.min(BACKOFF.maxMs, BACKOFF.firstMs * BACKOFF.factor ** (crashes - 1));
  return { ...pool, crashes, lastCrash: why, lastCrashMs: nowMs, notBeforeMs: nowMs + waitMs };
}
