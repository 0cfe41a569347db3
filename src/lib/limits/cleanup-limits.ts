/** Bounds of a cleanup. Milliseconds, bytes and characters. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/** The search for processes that should not be there. */
export const CLEANUP = {
  /** Times of the automatic cleanup: every 5 minutes. */
  cron: '*/5 * * * *',
  /** Time from a supervisor's start to its first cleanup. */
  firstAfterMs: 1 * SECOND_MS,
  /** Least age of a process that a cleanup ends. A younger one may not be recorded yet. */
  graceMs: 60 * SECOND_MS,
  /** Time after SIGTERM, then after SIGKILL. */
  termMs: 5 * SECOND_MS,
  killMs: 2 * SECOND_MS,
  /** Interval of the check for processes that got a signal. */
  checkMs: 20,
  /** Bound for the DNS lookup of LiveKit's address. */
  lookupMs: 1 * SECOND_MS,
  /** Bound for each step on a plan's file. */
  planFileMs: 2 * SECOND_MS,
  planBytes: 16 * 1024 * 1024,
  /** A plan can be applied for this long. */
  planMs: 1 * HOUR_MS,
  /** Answers and plans keep this much of a process's command line. */
  commandChars: 300,
  patternChars: 200,
  /** A shorter pattern would match half of the host. */
  patternLeastChars: 3,
} as const;
