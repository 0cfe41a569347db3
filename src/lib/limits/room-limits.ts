/** Bounds of curfew's requests to LiveKit about rooms. Milliseconds and bytes. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

/** Polls and webhooks. */
export const PRESENCE = {
  /** Interval of the polls. Webhooks bring changes earlier. */
  pollEveryMs: 5 * SECOND_MS,
  requestTimeoutMs: 5 * SECOND_MS,
  /** One answer that lists rooms or participants holds at most this much. */
  answerBytes: 16 * 1024 * 1024,
  /** Requests for a poll within this time make one round. */
  gatherMs: 30,
  /** Rooms in one request. A round of many rooms takes several, so an urgent poll waits for one of them at most. */
  sliceRooms: 64,
  /** Requests to LiveKit at the same time. */
  parallel: 8,
  /** A round starts earlier by up to this share, so that many hosts do not poll at the same time. */
  jitter: 0.1,
  /** An older webhook is stale or replayed, because LiveKit drops a webhook that waited longer than 30 s. */
  webhookMaxAgeMs: 5 * MINUTE_MS,
  /** LiveKit gives the creation time of a webhook in whole seconds. */
  webhookGrainMs: 1 * SECOND_MS,
  /** Ids of received webhooks that curfew remembers, to drop repeats. */
  webhookIdsKept: 10_000,
} as const;

/** A worker's LiveKit token outlives the maximum duration by this, so that it lasts through the teardown. */
export const TOKENS = { graceMs: 10 * MINUTE_MS } as const;

/** The bounds of `callers.ignore`: patterns of each kind, and characters of one of them. */
export const CALLERS = { patterns: 100, patternChars: 256 } as const;

/** Agents that were removed from their room and come back with their token. */
export const REMOVED = {
  /** curfew watches for at most this many agents. */
  most: 256,
  /** LiveKit accepts a token for this long after its expiry. */
  leewayMs: 1 * MINUTE_MS,
  /** At each join LiveKit gives the participant another token, which is valid for this long. */
  refreshedTokenMs: 10 * MINUTE_MS,
  /** Rooms in which only such an agent may appear are polled once in so many rounds. */
  everyRounds: 6,
  /** Bound of one removal, and of closing the room that the agent has made. */
  stepMs: 5 * SECOND_MS,
  /** The wait after the first removal of an agent, and after each later one. */
  quietMs: 1 * SECOND_MS,
  mostQuietMs: 2 * SECOND_MS,
  /** A participant that joined within this time of the room's creation has made the room. */
  madeWithinMs: 2 * SECOND_MS,
  /** Sids of rooms that curfew remembers for one agent. */
  roomSids: 16,
  /** Ended sessions that a start reads, newest first, to watch for their agents again; in pages of this length. */
  recorded: 500,
  recordedPage: 100,
  readAgainMs: 5 * SECOND_MS,
} as const;
