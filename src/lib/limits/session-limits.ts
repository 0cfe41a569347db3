/** Defaults and bounds of a session: its deadlines, its teardown, its replacement, its admission. Milliseconds. */

import { HOUR_MS, MINUTE_MS, SECOND_MS } from './time-units.ts';

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
  crashPollMs: 5 * SECOND_MS,
  /** An observation that was asked for and did not come is asked for again. */
  pollAgainMs: 2 * SECOND_MS,
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
  gapCheckMs: 1 * SECOND_MS,
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

/** Deadlines that a profile sets and a dispatch may override. */
export interface SessionLimits {
  readonly maxDurationMs: number;
  readonly activityIdleTimeoutMs: number;
  /** null: off. */
  readonly noActiveStreamMs: number | null;
  readonly startTimeoutMs: number;
  readonly noCallerMs: number;
  /** Grace for callers whose connection was lost. */
  readonly callersLostMs: number;
  /** Grace for callers who hung up. */
  readonly callersLeftMs: number;
  readonly errorLimit: number;
}

export interface LadderBounds {
  readonly acloseMs: number;
  readonly disconnectMs: number;
  readonly termMs: number;
  readonly killMs: number;
  readonly removeAgentMs: number;
  readonly closeRoomMs: number;
  /** Instead of `acloseMs` when no caller is left. */
  readonly wrapUpMs: number;
}
