/** Every default and bound towards LiveKit and its agents. Milliseconds, bytes and characters. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

/** LiveKit's own dispatch. Source: LiveKit's agent protocol and the bounds of its server. */
export const JOBS = {
  agentProtocol: 1,
  /** From the first packet to an open WebSocket. */
  openMs: 10 * SECOND_MS,
  /** From the open WebSocket to the answer to the registration. */
  registerMs: 10 * SECOND_MS,
  /** Lifetime of the token for the registration. Only the connection's start uses it. */
  tokenSeconds: 600,
  /** curfew answers an offered job within this. LiveKit gives up after 3 s, and the call is lost then. */
  answerMs: 1800,
  /** LiveKit assigns an accepted job at once or never. Later the job is logged as not assigned. */
  assignMs: 10 * SECOND_MS,
  /** The question if a dispatch was deleted: the bound of one request, the wait between two, and their number. */
  dispatchMs: 2 * SECOND_MS,
  dispatchAgainMs: 500,
  dispatchAttempts: 3,
  /** Longest time between two reports of load and status. */
  beatMs: 10 * SECOND_MS,
  /**
   * Highest load that curfew reports. LiveKit's server offers no job to a worker at 0.7 or more (its `target_load`), even
   * if the worker has free slots.
   */
  loadMost: 0.69,
  /** curfew drops a connection that is silent for this many beats. LiveKit pings every 10 s. */
  silentBeats: 3,
  /** First and longest wait before the next registration attempt. */
  retryFirstMs: 500,
  retryMaxMs: 30 * SECOND_MS,
  /** The wait reaches `retryMaxMs` earlier, so more doublings change nothing. */
  retryDoublings: 10,
  /** A wait is shorter by up to this share, so that many hosts do not come back at the same time. */
  retryJitter: 0.5,
  /** A registration that lasts this long resets the count of failures. */
  steadyMs: 30 * SECOND_MS,
  frameBytes: 1024 * 1024,
  /** curfew keeps this much of a job's message for the workers of its session. */
  messageBytes: 64 * 1024,
  /** curfew ends the connection after this many unreadable frames in a row. */
  garbageFrames: 10,
  /** A closing connection is cut after this. */
  lingerMs: 1 * SECOND_MS,
  /** How long curfew remembers a job that does not run, and how many jobs in all. */
  keepMs: 5 * MINUTE_MS,
  kept: 10_000,
} as const;

/** LiveKit's own bounds, in bytes of UTF-8. Source: the defaults of its server's config (`limit`). */
export const LIVEKIT_BOUNDS = {
  roomNameBytes: 256,
  identityBytes: 256,
  /** Of a participant. */
  metadataBytes: 512 * 1024,
  /** All keys and values of a participant. */
  attributesBytes: 64 * 1024,
} as const;

/** Calls that LiveKit dispatches to curfew. */
export const JOB_SOURCE = {
  /** After its yes curfew waits this long for LiveKit's assignment, then starts the call without it. */
  assignedWithinMs: 3 * SECOND_MS,
  /** A warm agent has this long from LiveKit's offer to answer it. Then curfew accepts the call for the agent. */
  askMs: 1400,
  /** LiveKit has this long to describe the room of a job. Then the agent gets what curfew knows. */
  describeMs: 2000,
  /** curfew reports a changed load at once, and the next one after this at the earliest. */
  loadEveryMs: 100,
} as const;

/** The stand-in for the LiveKit server, for workers with `protocol: livekit`. */
export const STAND_IN = {
  /** File in the state directory: the port of the stand-in, so that workers find it after a restart. */
  portFile: 'agents.port',
  /** File in a worker's folder: the job that the worker has. */
  jobFile: 'job',
  /** First and last port. Both lie below the kernel's range for outgoing connections. */
  portRange: [10_000, 30_000],
  portAttempts: 50,
  /** One frame of an agent. An acceptance may have the metadata and the attributes that LiveKit accepts, escaped as JSON. */
  frameBytes: 2 * 1024 * 1024,
  versionChars: 40,
  /** Oldest major version of the framework. The log warns about an older one. */
  leastMajor: 1,
  /** Oldest Node, as major and minor, with the module hooks that the launcher for JavaScript needs. */
  leastNode: [22, 15],
  /** A check of the config searches this much of an agent's file for its name. */
  scriptBytes: 256 * 1024,
  /** A check of the config waits this long for `node --version`. */
  nodeVersionMs: 5 * SECOND_MS,
  errorChars: 500,
  /**
   * Interval of pings to the agent; each answer counts as a heartbeat. The framework for JavaScript sends its first
   * status after 5 s, which may be the whole `heartbeat_stale`.
   */
  pingMs: 1500,
  /** Wait before the next offer to an agent that refused the job. */
  askAgainMs: 1 * SECOND_MS,
  /** The server version and the protocols that the stand-in reports to an agent. */
  serverVersion: '1.13.5',
  protocol: 16,
  agentProtocol: 1,
  /** An API call of an agent, and the answer, each hold at most this much. */
  callBytes: 1024 * 1024,
  /** LiveKit must answer an API call within this. */
  callMs: 10 * SECOND_MS,
  /** The same for a call that dials a phone, because LiveKit answers when the phone stops ringing. */
  dialMs: 90 * SECOND_MS,
  callTokenSeconds: 120,
  /** Connections to LiveKit for API calls. */
  callsAtOnce: 32,
  /** The log keeps this much of the name of a refused method. */
  methodChars: 100,
  /** The log names refused calls at most this often. */
  warnEveryMs: 1 * SECOND_MS,
  /** A worker's log gets at most this many lines of curfew about refused calls in this time. */
  notes: 20,
  notesMs: 1 * MINUTE_MS,
  /** curfew forgets a worker that does not reconnect within this. Both frameworks give up earlier. */
  forgetMs: 10 * MINUTE_MS,
} as const;

/**
 * Rooms that curfew watches after their session.
 * `closeMs`: bound of closing one.
 * `refusedMs`: wait before curfew closes the room of a call that it could not take. Only phones are in that room.
 */
export const WATCH = { closeMs: 5 * SECOND_MS, refusedMs: 10 * SECOND_MS } as const;
