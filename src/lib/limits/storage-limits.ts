/** Bounds of the registry, the audit file, the log and retention; names in the state directory. Milliseconds and bytes. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/** curfew's own log: `waitingBytes` wait in memory while the disk is full; `retryMs` is the wait before the next write. */
export const LOG = { waitingBytes: 256 * 1024, retryMs: 1 * SECOND_MS } as const;

/** The database. */
export const REGISTRY = {
  /** From the start of the thread to an open database. Long, because a start that gives up only repeats. */
  openMs: 30 * SECOND_MS,
  /** Bound of every other request. */
  timeoutMs: 5 * SECOND_MS,
  /** Sessions in one list: the most, and the default. */
  listMax: 500,
  listDefault: 100,
  /** curfew replaces a damaged or missing database at most this often. */
  renewEveryMs: 10 * SECOND_MS,
} as const;

/** Records of sessions. */
export const RECORDING = {
  /** A teardown waits this long for its record, then goes on without it. */
  patienceMs: 250,
  /** Small changes within this time make one write. */
  gatherMs: 20,
  /** Wait before the next attempt of a failed write. */
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

/**
 * The audit file. `writeMs`: an answer waits this long for its line. `waiting`: lines that wait while the disk hangs.
 * `lineEndChecks`: checks for a last line that is only half written.
 */
export const AUDIT = { writeMs: 2 * SECOND_MS, waiting: 1000, lineEndChecks: 100 } as const;

/** Retention of ended sessions and their logs. */
export const RETENTION = {
  /** Once an hour. */
  cron: '17 * * * *',
  sessionsMs: 30 * 24 * HOUR_MS,
  logsMs: 7 * 24 * HOUR_MS,
  logsTotalBytes: 2 * 1024 * 1024 * 1024,
} as const;

/** Logs of ended workers, over `retention.logs_total` or on a disk that is almost full. */
export const ENDED_LOGS = {
  /** An agent that holds a larger share of the total loses its own logs first. */
  agentShare: 0.25,
  /** The end of a failed session's log goes last. */
  tailBytes: 64 * 1024,
  /** Logs go until the total is this share of the limit. */
  targetShare: 0.95,
  /** Below both of these free amounts of the disk, logs go. */
  reserve: { bytes: 512 * 1024 * 1024, share: 0.2 },
  diskCheckMs: 250,
  /** The log line names this many workers whose logs went. */
  named: 5,
} as const;
