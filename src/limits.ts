/** Every default and bound of curfew in one place. Milliseconds and bytes. Source: the design's tables. */
import type { LadderBounds, SessionLimits } from './core/profile.ts';

/** As in package.json; a test compares them. */
export const VERSION = '0.1.0';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  maxDurationMs: 2 * HOUR_MS,
  activityIdleTimeoutMs: 120 * SECOND_MS,
  noActiveStreamMs: 900 * SECOND_MS,
  startTimeoutMs: 30 * SECOND_MS,
  noCallerMs: 120 * SECOND_MS,
  callersLostMs: 20 * SECOND_MS,
  callersLeftMs: 2 * SECOND_MS,
  errorLimit: 5,
};

/** What a session's or a profile's limit may be, `[least, most]`, both allowed. */
export const LIMIT_RANGES: Record<keyof SessionLimits, readonly [number, number]> = {
  maxDurationMs: [1 * SECOND_MS, 7 * 24 * HOUR_MS],
  activityIdleTimeoutMs: [30 * SECOND_MS, 3599 * SECOND_MS],
  noActiveStreamMs: [1 * SECOND_MS, 24 * HOUR_MS],
  startTimeoutMs: [100, 1 * HOUR_MS],
  noCallerMs: [1 * SECOND_MS, 24 * HOUR_MS],
  callersLostMs: [0, 1 * HOUR_MS],
  callersLeftMs: [0, 1 * HOUR_MS],
  errorLimit: [1, 1000],
};

export const DEFAULT_LADDER: LadderBounds = {
  acloseMs: 10 * SECOND_MS,
  disconnectMs: 10 * SECOND_MS,
  termMs: 5 * SECOND_MS,
  killMs: 2 * SECOND_MS,
  removeAgentMs: 5 * SECOND_MS,
  closeRoomMs: 5 * SECOND_MS,
  wrapUpMs: 60 * SECOND_MS,
};

export const LADDER_RANGE_MS: readonly [number, number] = [100, 10 * MINUTE_MS];
export const WRAP_UP_RANGE_MS: readonly [number, number] = [0, 15 * MINUTE_MS];

export const DEADLINES = {
  /** The worker is told this long before its maximum duration. */
  maxDurationNoticeMs: 60 * SECOND_MS,
  /** A ringing phone holds `noCallerMs` for this much longer. */
  ringingMs: 80 * SECOND_MS,
  agentAbsentMs: 15 * SECOND_MS,
  agentAbsentPolls: 2,
  heartbeatEveryMs: 5 * SECOND_MS,
  heartbeatStaleMs: 30 * SECOND_MS,
  /** How long a stale worker has to write its stacks before it is ended. */
  dumpMs: 5 * SECOND_MS,
  /** A spawn that is under way when its session ends is waited for this long. */
  spawnMs: 10 * SECOND_MS,
  /** A worker whose control connection is lost has this long to connect again before its teardown does without. The kits try at least every 2 s. */
  reconnectMs: 3 * SECOND_MS,
  /** An ending that the mass-end budget holds is looked at afresh after this. */
  heldMs: 60 * SECOND_MS,
  /** Health of this length resets the consecutive errors. */
  errorResetMs: 60 * SECOND_MS,
  /** A worker crashed and nobody was known to be there: a look that does not come by then says nobody. */
  crashLookMs: 5 * SECOND_MS,
  /** An observation that was asked for and did not come is asked for again. */
  lookAgainMs: 2 * SECOND_MS,
  /** A `configure` that was not acknowledged is sent again. */
  configureAgainMs: 5 * SECOND_MS,
  /** How long the scan for what a dead worker left behind may take before TERM is sent anyway. */
  reapMs: 1 * SECOND_MS,
  /** How long the look after KILL's bound may take: on a host with no CPU to spare many seconds, and a word too early wakes a person. */
  confirmMs: 10 * SECOND_MS,
  /** A kept room whose last caller is alone for this long is closed. */
  watchAloneMs: 20 * SECOND_MS,
  watchMaxMs: 4 * HOUR_MS,
  /** Between ticks: more than this is a gap (suspend, SIGSTOP, overload). */
  gapMs: 5 * SECOND_MS,
  /** How often the pulse looks for a gap. */
  pulseMs: 1 * SECOND_MS,
  keepAliveMaxMs: 3599 * SECOND_MS,
} as const;

/** Replacement of a crashed worker: first wait, growth, longest wait, jitter as a share; how many are remembered with their reason. */
export const BACKOFF = {
  firstMs: 500,
  factor: 2,
  maxMs: 30 * SECOND_MS,
  jitter: 0.2,
  remembered: 20,
} as const;

/** No mass end: more than `count` and more than `share` of the live sessions within `windowMs` are held. */
export const MASS_END = { count: 5, share: 0.2, windowMs: 30 * SECOND_MS, aheadMs: 10 * SECOND_MS } as const;

export const ADMISSION = {
  sessions: 50,
  perUser: 2,
  startRatePerSecond: 10,
  queue: 100,
  queueTimeoutMs: 30 * SECOND_MS,
  /** Told with every refusal. */
  retryAfterSeconds: 5,
} as const;

export const TEXT = {
  /** LiveKit itself takes room names of up to 256 characters. */
  roomChars: 256,
  idChars: 128,
  userChars: 256,
  metadataBytes: 64 * 1024,
  labels: 32,
  labelKeyChars: 64,
  labelValueChars: 256,
  bodyBytes: 256 * 1024,
  /** Of lists and maps within each other in a body. */
  bodyLevels: 64,
  /** A worker's error message is cut to this in the session's evidence. */
  detailChars: 500,
} as const;

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

/** curfew's own log: what waits for a disk that is full, and when it is tried again. */
export const LOG = { waitingBytes: 256 * 1024, retryMs: 1 * SECOND_MS } as const;

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
  vigilMs: 1 * SECOND_MS,
  /** So long after it was last seen to be held a group's number is taken to be the group's: the kernel gives numbers in turn. */
  groupHeldMs: 15 * SECOND_MS,
  sampleMs: 5 * SECOND_MS,
  /** Between two looks at a log file: as a rule, and while it grows fast. */
  logLookMs: 1 * SECOND_MS,
  logLookFastMs: 50,
} as const;

export const PRESENCE = {
  pollEveryMs: 5 * SECOND_MS,
  requestTimeoutMs: 5 * SECOND_MS,
  /** Of one answer that lists rooms or participants. */
  answerBytes: 16 * 1024 * 1024,
  /** Looks that are asked for within this make one round. */
  gatherMs: 30,
  /** Rooms of one question; a round of many rooms takes several, and a look that is asked for waits for one at most. */
  sliceRooms: 64,
  parallel: 8,
  /** A round may start earlier by this share, so that many hosts do not ask at once. */
  jitter: 0.1,
  /** LiveKit drops a webhook that waited longer than 30 s; older than this is stale or replayed. */
  webhookMaxAgeMs: 5 * MINUTE_MS,
  /** LiveKit says in whole seconds when it made one. */
  webhookGrainMs: 1 * SECOND_MS,
  webhookIdsKept: 10_000,
} as const;

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

/** `maxMs`: the longest bound of a drain. `exitUnderSystemd`: told apart from an end after which the unit is to start again. */
export const DRAIN = { maxMs: 7 * 24 * HOUR_MS, exitUnderSystemd: 8 } as const;

/** The search for processes that should not be there. */
export const SWEEP = {
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

/** Retention of ended sessions and their logs. */
export const RETENTION = {
  cron: '17 * * * *',
  sessionsMs: 30 * 24 * HOUR_MS,
  logsMs: 7 * 24 * HOUR_MS,
} as const;

/** The bound of a whole stop (SIGTERM) beyond the slowest ladder. */
export const SHUTDOWN = {
  boundMs: 60 * SECOND_MS,
  /** An ended supervisor that something still holds up exits after this. */
  lingerMs: 500,
} as const;

/** What is asked of systemd and told to it. */
export const SYSTEMD = {
  notifyMs: 5 * SECOND_MS,
  /** No answer within this: the unit's job is not known, and the workers are left. */
  jobMs: 2 * SECOND_MS,
  /** How often the status line is told where no watchdog is set. */
  statusMs: 15 * SECOND_MS,
  /** More than the bound of the stop itself. */
  extendMs: 15 * SECOND_MS,
} as const;

/** A worker's LiveKit token outlives its session by this, for the ladder. */
export const TOKENS = { graceMs: 10 * MINUTE_MS } as const;

export const HTTP = {
  methods: ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'],
  /** How long a whole request may take to arrive. */
  requestMs: 30 * SECOND_MS,
  /** How often it is looked which ones take longer. */
  requestLookMs: 5 * SECOND_MS,
  waitMs: 30 * SECOND_MS,
  waitMaxMs: 10 * MINUTE_MS,
  /** Of a session's logs, from their end. */
  logBytes: 16 * 1024 * 1024,
  /** A face that closes waits for its answers this long, then cuts them off. */
  closeMs: 1 * SECOND_MS,
  /** How often a followed log is looked at. */
  followMs: 250,
} as const;

export const CLI = {
  columns: 80,
  connectMs: 3 * SECOND_MS,
  drainLookMs: 500,
  /** How often the time that is left to a drain is told. */
  drainSayMs: 10 * SECOND_MS,
  /** A supervisor that crashed while it drained has this long to be started again. */
  drainBackMs: 15 * SECOND_MS,
  /** A supervisor that answers no health question for this long is taken for hung. */
  aliveMs: 3 * SECOND_MS,
  /** Longer than any wait that a command asks for. */
  answerMs: 11 * MINUTE_MS,
  /** node:sqlite, and what else is tested. */
  nodeMajor: 24,
  defaultSocket: '/run/curfew/curfew.sock',
  devSocket: '.curfew/curfew.sock',
} as const;

/** `curfew run`. */
export const RUN = {
  tailBytes: 16 * 1024 * 1024,
  afterMs: 60 * SECOND_MS,
  /** curfew's own, never a worker's. */
  withheldEnv: [
    'LIVEKIT_API_KEY',
    'LIVEKIT_API_SECRET',
    'CURFEW_API',
    'CURFEW_API_TOKEN',
    'CURFEW_CONFIG',
    'CURFEW_TOKEN',
    'CURFEW_WORKER',
    'CURFEW_SOCKET',
  ] as readonly string[],
} as const;

/** `curfew dev`. Nothing listens but on loopback. */
export const DEV = {
  dir: '.curfew',
  /** Not the default of a config, whose supervisor runs beside it. */
  httpPort: 7889,
  livekitPort: 7880,
  /** On other ports each time. */
  livekitAttempts: 3,
  livekitStartMs: 15 * SECOND_MS,
  /** Between the first SIGTERM, which waits for participants, and the second, which does not. */
  livekitForceMs: 500,
  livekitStopMs: 10 * SECOND_MS,
  probeMs: 100,
  lastWordsChars: 300,
  apiKey: 'devkey',
} as const;
