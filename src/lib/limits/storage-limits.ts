/** Bounds of the registry, the audit file, the log and retention; names in the state directory. Milliseconds and bytes. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/** curfew's own log: what waits for a disk that is full, and when it is tried again. */
export const LOG = { waitingBytes: 256 * 1024, retryMs: 1 * SECOND_MS } as const;

export const REGISTRY = {
  /** From the start of its thread until the database is open and read: a start that gives up is only made again. */
  openMs: 30 * SECOND_MS,
  timeoutMs: 5 * SECOND_MS,
  listMax: 500,
  listDefault: 100,
  /** A database that was damaged or taken away is replaced at most so often. */
  renewEveryMs: 10 * SECOND_MS,
} as const;

export const RECORDING = {
  /** How long a teardown waits for its record before it goes on without. */
  patienceMs: 250,
  /** How long small changes are gathered. */
  gatherMs: 20,
  retryMs: 5 * SECOND_MS,
} as const;

/** Names in the state directory. */
export const STATE_FILES = {
  workers: 'workers',
  plans: 'plans',
  cgroup: 'cgroup',
  drain: 'drain.json',
  audit: 'audit.log',
} as const;

/** How long an answer waits for its line, and how many lines may wait for a disk that hangs. */
export const AUDIT = { writeMs: 2 * SECOND_MS, waiting: 1000, looksAtEnd: 100 } as const;

/** Retention of ended sessions and their logs. */
export const RETENTION = {
  cron: '17 * * * *',
  sessionsMs: 30 * 24 * HOUR_MS,
  logsMs: 7 * 24 * HOUR_MS,
} as const;
