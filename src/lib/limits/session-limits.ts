/** Defaults and bounds of a session: its deadlines, its teardown, its replacement, its admission. Milliseconds. */

import { HOUR_MS, MINUTE_MS, SECOND_MS } from './time-units.ts';

/** Used where neither the profile nor the dispatch sets a limit. */
export const DEFAULT_SESSION_LIMITS: Required<SessionLimits> = {
  maxDurationMs: 2 * HOUR_MS,
  activityIdleTimeoutMs: 120 * SECOND_MS,
  noActiveStreamMs: 900 * SECOND_MS,
  startTimeoutMs: 30 * SECOND_MS,
  noCallerMs: 120 * SECOND_MS,
  callersLostMs: 20 * SECOND_MS,
  callersLeftMs: 10 * SECOND_MS,
  phonesLeftMs: 2 * SECOND_MS,
  errorLimit: 5,
};

/** A limit that a config and a dispatch can name. */
export type LimitName = Exclude<keyof SessionLimits, 'phonesLeftMs'>;

/** Range of each limit of a session or a profile: `[least, most]`, both allowed. */
export const LIMIT_RANGES: Record<LimitName, readonly [number, number]> = {
  maxDurationMs: [1 * SECOND_MS, 7 * 24 * HOUR_MS],
  activityIdleTimeoutMs: [30 * SECOND_MS, 3599 * SECOND_MS],
  noActiveStreamMs: [1 * SECOND_MS, 24 * HOUR_MS],
  startTimeoutMs: [100, 1 * HOUR_MS],
  noCallerMs: [1 * SECOND_MS, 24 * HOUR_MS],
  callersLostMs: [0, 1 * HOUR_MS],
  callersLeftMs: [0, 1 * HOUR_MS],
  errorLimit: [1, 1000],
};

/** Used where the profile sets no bound for a step. */
export const DEFAULT_LADDER: LadderBounds = {
  acloseMs: 10 * SECOND_MS,
  disconnectMs: 10 * SECOND_MS,
  termMs: 10 * SECOND_MS,
  killMs: 2 * SECOND_MS,
  removeAgentMs: 5 * SECOND_MS,
  closeRoomMs: 5 * SECOND_MS,
  wrapUpMs: 60 * SECOND_MS,
};

/** Range of each step's bound, `wrapUpMs` aside. */
export const LADDER_RANGE_MS: readonly [number, number] = [100, 10 * MINUTE_MS];

export const WRAP_UP_RANGE_MS: readonly [number, number] = [0, 15 * MINUTE_MS];

/** Deadlines and waits of a session that no dispatch changes. */
export const DEADLINES = {
  /** The worker gets a notice this long before its maximum duration. */
  maxDurationNoticeMs: 60 * SECOND_MS,
  /** An agent without an open AgentSession has this long to open one for a caller that is back. */
  returnedMs: 1 * SECOND_MS,
  /** A ringing phone extends `noCallerMs` by this. */
  ringingMs: 80 * SECOND_MS,
  /** Default of `agent_absent`. */
  agentAbsentMs: 15 * SECOND_MS,
  /** At least this many polls must miss the agent. One poll may be wrong. */
  agentAbsentPolls: 2,
  heartbeatEveryMs: 5 * SECOND_MS,
  /** Default of `heartbeat_stale`: six heartbeats. */
  heartbeatStaleMs: 30 * SECOND_MS,
  /** Default of `heartbeat_stale` for a LiveKit agent that the launcher attached: the framework's own bound. */
  attachedStaleMs: 60 * SECOND_MS,
  /** Tools alone, without speech or text, count as use for this long. */
  toolsAloneMs: 10 * MINUTE_MS,
  /** A job without an open AgentSession and without a caller ends after this. */
  agentSessionClosedMs: 10 * SECOND_MS,
  /** After an error closed the last AgentSession, the agent's own code has this long to open another. */
  agentSessionFailedMs: 2 * SECOND_MS,
  /** A second AgentSession that the same provider's error closes so soon after its start ends the session. */
  sameProviderMs: 60 * SECOND_MS,
  /** A stale worker has this long to write its stacks. Then it ends. */
  dumpMs: 5 * SECOND_MS,
  /** The teardown waits this long for a start that is under way. */
  spawnMs: 10 * SECOND_MS,
  /**
   * A worker with a lost control connection has this long to reconnect. Then the teardown goes on without it.
   * The kits try at least every 2 s.
   */
  reconnectMs: 3 * SECOND_MS,
  /** An ending that the mass-end budget holds is checked again after this. */
  heldMs: 60 * SECOND_MS,
  /** This long without an error resets the count of errors in a row. */
  errorResetMs: 60 * SECOND_MS,
  /** A worker crashed and no caller was known: without a poll within this, the room counts as empty. */
  crashPollMs: 5 * SECOND_MS,
  /** curfew repeats a requested poll that brought no snapshot within this. */
  pollAgainMs: 2 * SECOND_MS,
  /** curfew sends a `configure` again that the worker did not acknowledge within this. */
  configureAgainMs: 5 * SECOND_MS,
  /** Bound of the scan for processes that a dead worker left. Then they get TERM anyway. */
  reapMs: 1 * SECOND_MS,
  /**
   * Bound of the scan after KILL's own bound. On a host without a free CPU it takes many seconds, and a report of an
   * unkillable process wakes a person.
   */
  confirmMs: 10 * SECOND_MS,
  /** A main process that lives this long before the bound of TERM may be a wrapper that traps TERM. */
  termRestMs: 1 * SECOND_MS,
  /** curfew closes a kept room when its last caller is alone for this long. */
  watchAloneMs: 20 * SECOND_MS,
  /** curfew watches a kept room for this long at most. */
  watchMaxMs: 4 * HOUR_MS,
  /** Wait before a tick of a session that had a failure: the first, doubled with each failure in a row, and the longest. */
  failedTick: { firstMs: 1 * SECOND_MS, mostMs: 1 * MINUTE_MS },
  /** A longer time between two ticks is a gap (suspend, SIGSTOP, overload). */
  gapMs: 5 * SECOND_MS,
  /** Interval of the check for a gap. */
  gapCheckMs: 1 * SECOND_MS,
  /** The most that one keep-alive can request. */
  keepAliveMaxMs: 3599 * SECOND_MS,
} as const;

/** A new session for a caller that returns to its room. */
export const REJOIN = {
  /** A dispatch for the room comes first within this. */
  afterMs: 1 * SECOND_MS,
  /** At most so many in one room within `withinMs`, so that an agent that ends at once does not begin for ever. */
  most: 5,
  withinMs: 10 * MINUTE_MS,
  /** After a failure that is no refusal the next try comes so much later. */
  againMs: 30 * SECOND_MS,
  /** With less of the maximum duration left no session begins. */
  leastMs: 1 * SECOND_MS,
  /** A room is gone when snapshots show no such room for this long. */
  goneMs: 10 * SECOND_MS,
} as const;

/**
 * Waits before the replacement of a crashed worker: the first, the factor, the longest, and the jitter as a share.
 * `unrecordedMs`: the wait after a start that could not be recorded.
 */
export const BACKOFF = {
  firstMs: 500,
  factor: 2,
  maxMs: 30 * SECOND_MS,
  unrecordedMs: 5 * SECOND_MS,
  jitter: 0.2,
  /** The session shows this many replaced workers, each with its reason. */
  remembered: 20,
} as const;

/**
 * The mass-end budget: curfew holds inferred endings of more than `count` and more than `share` of the live sessions
 * within `windowMs`. So many at once are more likely curfew's error than hang-ups.
 * `aheadMs`: endings that are due within this count too.
 */
export const MASS_END = { count: 5, share: 0.2, windowMs: 30 * SECOND_MS, aheadMs: 10 * SECOND_MS } as const;

/** Defaults of `limits`. */
export const ADMISSION = {
  sessions: 50,
  perUser: 2,
  startRatePerSecond: 10,
  queue: 100,
  queueTimeoutMs: 30 * SECOND_MS,
  /** Shares of the host: use of the processor, and free memory. */
  cpu: 0.8,
  memoryFree: 0.1,
  /** Interval of the samples of the host's load. */
  sampleMs: 2500,
  /** Each refusal at a limit names this wait. */
  retryAfterSeconds: 5,
} as const;

/** Deadlines that a profile sets and a dispatch may override. */
export interface SessionLimits {
  readonly maxDurationMs: number;
  readonly activityIdleTimeoutMs: number;
  /** null: off. */
  readonly noActiveStreamMs: number | null;
  readonly startTimeoutMs: number;
  readonly noCallerMs: number;
  /** Grace after a lost connection of the last caller. */
  readonly callersLostMs: number;
  /** Grace after the last caller hung up. */
  readonly callersLeftMs: number;
  /** The same for a phone. Absent: `callersLeftMs`. Records of 0.1.0 lack it. */
  readonly phonesLeftMs?: number;
  /** A count of errors in a row. */
  readonly errorLimit: number;
}

/** Bound of each step of a teardown. */
export interface LadderBounds {
  readonly acloseMs: number;
  readonly disconnectMs: number;
  /** The bound of both parts of TERM. */
  readonly termMs: number;
  /** Which processes get the first TERM: the main process, or all at once. Profiles of 0.1.0 lack it, and mean `main`. */
  readonly signal?: 'main' | 'all';
  readonly killMs: number;
  readonly removeAgentMs: number;
  readonly closeRoomMs: number;
  /** Extends `acloseMs` when no caller is left; the longer of the two counts. */
  readonly wrapUpMs: number;
}
