/** Bounds of what curfew asks LiveKit about rooms. Milliseconds and bytes. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

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

/** A worker's LiveKit token outlives its session by this, for the ladder. */
export const TOKENS = { graceMs: 10 * MINUTE_MS } as const;
