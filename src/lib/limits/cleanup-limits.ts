/** Bounds of a cleanup. Milliseconds and bytes. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/** The search for processes that should not be there. */
export const CLEANUP = {
  /** When it runs by itself. */
  cron: '*/5 * * * *',
  /** After a start. */
  firstAfterMs: 1 * SECOND_MS,
  /** Nothing younger is ended. */
  graceMs: 60 * SECOND_MS,
  termMs: 5 * SECOND_MS,
  killMs: 2 * SECOND_MS,
  /** Between two looks at processes that should end. */
  lookMs: 20,
  /** Finding LiveKit's address, and each step on a plan's file. */
  lookupMs: 1 * SECOND_MS,
  planFileMs: 2 * SECOND_MS,
  planBytes: 16 * 1024 * 1024,
  /** A plan can be applied for this long. */
  planMs: 1 * HOUR_MS,
  /** Of a process's command, as it is shown and stored. */
  commandChars: 300,
  patternChars: 200,
  /** A shorter pattern would match half the host. */
  patternLeastChars: 3,
} as const;
