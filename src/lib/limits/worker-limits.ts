/** Defaults and bounds of worker processes: start, signals, logs, control socket, warm workers. Milliseconds and bytes. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from './time-units.ts';

/**
 * Connections that wait for `accept`. After a restart all workers connect at once. The kernel refuses further ones with
 * EAGAIN. Source: unix(7).
 */
export const LISTEN_BACKLOG = 4096;

/**
 * Share of the open files that each listener's connections may use. Scans of processes and records need the rest, so
 * clients must not use all of them.
 */
export const CONNECTION_SHARES = { control: 1 / 2, http: 1 / 8, standIn: 1 / 8 } as const;

/** The control socket. */
export const CHANNEL = {
  /** In the state directory. */
  socketName: 'control.sock',
  /** Size of `sun_path` in Linux, without its NUL. Source: unix(7). */
  socketPathBytes: 107,
  /** One control line, without its newline. */
  lineBytes: 64 * 1024,
  /** The answer to a wrong line holds this much of the names of unknown fields. */
  fieldChars: 100,
  /** A new connection must send a valid hello within this. */
  helloMs: 5 * SECOND_MS,
  /** Heartbeats with less time between them count as one. */
  heartbeatMinMs: 100,
  /** Lines that curfew reads from one connection before it reads from others. */
  linesPerTurn: 200,
  /** An ended connection is destroyed after this. */
  lingerMs: 1 * SECOND_MS,
  /** curfew logs wrong messages of one worker at most this often. */
  refusalLogMs: 1 * MINUTE_MS,
  /** curfew drops the connection of a worker with more unsent bytes than this. */
  backlogBytes: 1024 * 1024,
} as const;

/**
 * curfew reads at most this much of a file that a worker may have written.
 * `smallBytes`: claim, pid, status and cgroup. `recordBytes`: a record.
 */
export const FILES = { smallBytes: 4 * 1024, recordBytes: 1024 * 1024 } as const;

/** Logs of workers. */
export const LOGS = {
  /** curfew keeps this much of the start and of the end of a worker's output. */
  headBytes: 1024 * 1024,
  tailBytes: 9 * 1024 * 1024,
  /** RLIMIT_FSIZE of the worker: the bound while no supervisor trims the log. */
  hardBytes: 4 * 1024 * 1024 * 1024,
  /** Below both of these free amounts of the disk, the log's sizes are divided by `scarceDivisor`. */
  scarce: { bytes: 64 * 1024 * 1024, share: 0.05 },
  scarceDivisor: 16,
} as const;

/** Starts and process trees of workers. */
export const WORKERS = {
  /** The kernel passes no longer variable: 128 KiB for NAME=value and its end. Source: execve(2), MAX_ARG_STRLEN. */
  envBytes: 128 * 1024 - 2,
  /** Processes and threads of one worker, where a cgroup controller bounds them. */
  pidsMax: 4096,
  startsAtOnce: 8,
  /** From the shim's start to the running command. On an overloaded host this takes seconds, and a call that waits must not fail. */
  spawnMs: 15 * SECOND_MS,
  /** Bound of each step on the worker's folder: creation, record, log. */
  folderMs: 10 * SECOND_MS,
  /** The shim of a killed worker has this long to write the exit status. */
  shimMs: 500,
  /** Interval of the scans of a tree that got SIGTERM: first and longest wait. */
  termScanMs: [25, 250],
  /** The same after SIGKILL. */
  killScanMs: [2, 1 * SECOND_MS],
  /** If new processes still appear this long after SIGKILL, curfew kills the whole group, including its shim. */
  forkerMs: 300,
  /** The checks below take at least this long per worker, so that many workers cost no more than a few. */
  checkSpacingMs: 2,
  /** Interval of the check that a worker's own process exists, in case its shim does not report the exit. */
  livenessProbeMs: 1 * SECOND_MS,
  /** A process group id still belongs to the worker this long after a scan found its member. The kernel reuses ids in turn. */
  groupHeldMs: 15 * SECOND_MS,
  /** Interval of the memory and CPU samples. */
  sampleMs: 5 * SECOND_MS,
  /** Interval of the check of a log file's size. */
  logCheckMs: 1 * SECOND_MS,
  /** The same while a log grows fast. */
  logCheckFastMs: 50,
} as const;

/** Samples of memory. */
export const MEMORY = {
  /** From this share of a worker's limit on, curfew reads the proportional set sizes. Below it resident memory is proof enough. */
  exactShare: 0.8,
  /** Bound of one process's proportional set size. */
  readMs: 1 * SECOND_MS,
  /** The pause after a round of samples is at least so many times the round's length. */
  pauseFactor: 4,
} as const;

/** Warm workers. */
export const WARM = {
  /** Most warm workers of one agent. */
  most: 1000,
  startsAtOnce: 4,
  /** From a worker's assignment to the start of the next one. */
  refillAfterMs: 50,
  maxAgeMs: 6 * HOUR_MS,
  /** curfew replaces a warm worker that uses more than this share of its profile's memory limit. */
  memoryShare: 0.5,
  /** A crash this soon after the assignment counts as a failed assignment, and another worker gets the call. */
  provenMs: 2 * SECOND_MS,
  /** Time between TERM and KILL for a warm worker that ends. */
  termMs: 5 * SECOND_MS,
  /** A stop waits this long after KILL. */
  killMs: 1 * SECOND_MS,
  /** Interval of the check while a stop waits. */
  checkMs: 20,
} as const;

/** Zygotes: preloaded processes from which workers are forked. */
export const ZYGOTE = {
  maxAgeMs: 1 * HOUR_MS,
  /** curfew ends a zygote that has grown beyond this. */
  memoryBytes: 1024 * 1024 * 1024,
  /** Warm workers wait this long for the import of their zygote. Then they start cold. */
  awaitedMs: 15 * SECOND_MS,
  /** Bound of a fork, from the order to the claim. Then the worker starts cold. */
  forkMs: 2 * SECOND_MS,
  /** The zygote has taken the order, but its child may still be held up. */
  takenMs: 3 * SECOND_MS,
} as const;

/** `atOnce`: sessions that a start adopts in parallel. `againMs`: wait before the next attempt of a failed adoption. */
export const RECOVERY = { atOnce: 100, againMs: 5 * SECOND_MS } as const;

/** Unit of a process's start time in /proc: one tick of USER_HZ. Source: proc(5). */
export const TICK_MS = 10;

/** `$0` of the shim's shell. A cleanup recognises the shim by it. */
export const SHIM_NAME = 'curfew-shim';
