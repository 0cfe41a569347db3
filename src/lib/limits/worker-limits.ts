/** Defaults and bounds of worker processes: start, signals, logs, control socket, warm workers. Milliseconds and bytes. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from './time-units.ts';

/** Connections that wait to be taken, as those of all workers do after a restart; who comes beyond these is refused with EAGAIN. unix(7) */
export const LISTEN_BACKLOG = 4096;

/** Of the files that the process may open; whoever only connects must leave enough for looks at processes and for records. */
export const CONNECTION_SHARES = { control: 1 / 2, http: 1 / 8, standIn: 1 / 8 } as const;

export const CHANNEL = {
  /** In the state directory. */
  socketName: 'control.sock',
  /** sun_path of Linux, without its NUL. */
  socketPathBytes: 107,
  /** One control line, without its newline. */
  lineBytes: 64 * 1024,
  /** Of the names of unknown fields, in the answer to whoever sent them. */
  fieldChars: 100,
  /** A connection must say a valid hello within this. */
  helloMs: 5 * SECOND_MS,
  /** Heartbeats that come closer together than this are one. */
  heartbeatMinMs: 100,
  /** Lines read from one connection before others have their turn. */
  linesPerTurn: 200,
  /** A connection that was ended is destroyed after this. */
  lingerMs: 1 * SECOND_MS,
  /** Between two lines of curfew's log about what one worker sent wrongly. */
  refusalLogMs: 1 * MINUTE_MS,
  /** Unsent bytes towards one worker before its connection is dropped. */
  backlogBytes: 1024 * 1024,
} as const;

/** What is read at most of a file that a worker may have written: of its claim, pid, status and cgroup, and of a record. */
export const FILES = { smallBytes: 4 * 1024, recordBytes: 1024 * 1024 } as const;

export const LOGS = {
  /** Kept from the start and from the end of what a worker prints. */
  headBytes: 1024 * 1024,
  tailBytes: 9 * 1024 * 1024,
  /** RLIMIT_FSIZE of the worker: the hard bound while no supervisor trims. */
  hardBytes: 4 * 1024 * 1024 * 1024,
  /** With less free space than both, logs are cut to a part of their size. */
  scarceBytes: 64 * 1024 * 1024,
  scarceShare: 0.05,
  scarceDivisor: 16,
} as const;

export const WORKERS = {
  /** Processes and threads of one worker, where a controller bounds them. */
  pidsMax: 4096,
  startsAtOnce: 8,
  /** From the shim's start to the command running. */
  spawnMs: 5 * SECOND_MS,
  /** Each step on the worker's folder: making it, its record, its log. */
  folderMs: 10 * SECOND_MS,
  /** How long the shim of a killed worker has to write the exit status. */
  shimMs: 500,
  /** Between two looks at a tree that should end: first and longest wait. */
  termLookMs: [25, 250],
  killLookMs: [2, 1 * SECOND_MS],
  /** New processes are still found this long after SIGKILL: the whole group is killed, its shim inside. */
  forkerMs: 300,
  /** The looks below come at most so often: one in this time, over all workers. */
  lookMs: 2,
  /** Whether a worker's own process is still there, should its shim not tell. */
  livenessProbeMs: 1 * SECOND_MS,
  /** So long after it was last seen to be held a group's number is taken to be the group's: the kernel gives numbers in turn. */
  groupHeldMs: 15 * SECOND_MS,
  sampleMs: 5 * SECOND_MS,
  /** Between two looks at a log file: as a rule, and while it grows fast. */
  logLookMs: 1 * SECOND_MS,
  logLookFastMs: 50,
} as const;

/** Workers that are kept warm. */
export const WARM = {
  most: 1000,
  startsAtOnce: 4,
  /** From a worker's assignment to the start of the next one. */
  refillAfterMs: 50,
  maxAgeMs: 6 * HOUR_MS,
  /** Of the profile's memory limit: one that is bigger before its call is replaced. */
  memoryShare: 0.5,
  /** One that dies so soon after it got its room has died on its assignment. */
  provenMs: 2 * SECOND_MS,
  /** Between TERM and KILL for one that is let go. */
  termMs: 5 * SECOND_MS,
  /** After KILL, and between two looks, when a stop waits for them. */
  killMs: 1 * SECOND_MS,
  lookMs: 20,
} as const;

/** How many sessions a start takes over side by side, and when it tries again to take over one that it could not. */
export const RECOVERY = { atOnce: 100, againMs: 5 * SECOND_MS } as const;

/** Of a process's start time in /proc. Source: proc(5), USER_HZ. */
export const TICK_MS = 10;

/** `$0` of the shim's shell, by which a sweep knows it. */
export const SHIM_NAME = 'curfew-shim';
