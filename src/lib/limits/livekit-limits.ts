/** Every default and bound towards LiveKit and its agents. Milliseconds and bytes. */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

/** LiveKit's own dispatch. Source: its agent protocol and its server's bounds. */
export const JOBS = {
  agentProtocol: 1,
  /** From the first packet to the WebSocket; from there to the answer to the registration. */
  openMs: 10 * SECOND_MS,
  registerMs: 10 * SECOND_MS,
  tokenSeconds: 600,
  /** LiveKit gives up after 3 s, and the call is lost then. */
  answerMs: 1800,
  /** An accepted job is assigned at once, or never. */
  assignMs: 10 * SECOND_MS,
  /** Asking whether a dispatch was deleted: one question, the wait before the next, and how many. */
  dispatchMs: 2 * SECOND_MS,
  dispatchAgainMs: 500,
  dispatchAttempts: 3,
  /** Load and status are told at least so often. */
  beatMs: 10 * SECOND_MS,
  /** LiveKit's server asks no worker at 0.7 or more (its `target_load`), even one that has places left: the fullest host says this. */
  loadMost: 0.69,
  /** LiveKit pings every 10 s. A connection without a sound for so many beats is dropped. */
  silentBeats: 3,
  retryFirstMs: 500,
  retryMaxMs: 30 * SECOND_MS,
  /** More would change nothing. */
  retryDoublings: 10,
  /** A wait may be shorter by this share, so that many hosts do not come back at once. */
  retryJitter: 0.5,
  /** A registration that held for this long ends a row of failures. */
  steadyMs: 30 * SECOND_MS,
  frameBytes: 1024 * 1024,
  /** Frames in a row that cannot be read. */
  garbageFrames: 10,
  lingerMs: 1 * SECOND_MS,
  /** How long a job that does not run is remembered, and how many jobs are. */
  keepMs: 5 * MINUTE_MS,
  kept: 10_000,
} as const;

/** Calls that LiveKit hands to curfew. */
export const JOB_SOURCE = {
  /** After a yes LiveKit's assignment is waited for this long; then the call is begun without it. */
  assignedWithinMs: 3 * SECOND_MS,
  /** How full this host is is told at once, and again after this at the soonest. */
  loadEveryMs: 100,
} as const;

/** Standing in for LiveKit towards its own agents. */
export const STAND_IN = {
  /** Names in the state directory and in a worker's folder. */
  portFile: 'agents.port',
  jobFile: 'job',
  /** First and last; below the kernel's own choice for outgoing connections. */
  portRange: [10_000, 30_000],
  portAttempts: 50,
  /** One frame of an agent. */
  frameBytes: 256 * 1024,
  versionChars: 40,
  leastMajor: 1,
  errorChars: 500,
  /** Its answers are heartbeats, which agents-js sends first after 5 s, as long as `heartbeat_stale` may be at least. */
  pingMs: 1500,
  /** An agent that takes no job is asked again. */
  askAgainMs: 1 * SECOND_MS,
  /** What an agent hears of the server: a LiveKit of this version, and the protocols that it speaks. */
  serverVersion: '1.13.5',
  protocol: 16,
  agentProtocol: 1,
  /** An API call of an agent: its size, its answer's, and how long LiveKit has for it. Dialling a phone lasts as long as it rings. */
  callBytes: 1024 * 1024,
  callMs: 10 * SECOND_MS,
  dialMs: 90 * SECOND_MS,
  callTokenSeconds: 120,
  callsAtOnce: 32,
  methodChars: 100,
  /** Refused calls are logged at most so often. */
  warnEveryMs: 1 * SECOND_MS,
  /** A worker that does not connect again is forgotten; both frameworks give up earlier. */
  forgetMs: 10 * MINUTE_MS,
} as const;

/** `refusedMs`: a phone whose call could not be taken is let go after this. */
export const WATCH = { closeMs: 5 * SECOND_MS, refusedMs: 10 * SECOND_MS } as const;
