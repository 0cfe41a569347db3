/** Bounds of the HTTP API and the CLI. Milliseconds, bytes and characters. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

/** Sizes of the texts in requests and sessions. */
export const TEXT = {
  /** LiveKit allows room names of up to 256 bytes, so of no more characters. `LIVEKIT_BOUNDS` has the bytes. */
  roomChars: 256,
  /** A session's id is part of a folder's name. */
  idChars: 128,
  userChars: 256,
  /** As JSON. A worker gets the metadata in one environment variable and in one control line. */
  metadataBytes: 64 * 1024,
  /** Most labels of one session. */
  labels: 32,
  labelKeyChars: 64,
  labelValueChars: 256,
  /** Holds the largest metadata and the largest labels. */
  bodyBytes: 256 * 1024,
  /** Levels of nested lists and maps in a body. Deeper ones could exhaust the stack of a recursive check. */
  bodyLevels: 64,
  /** The session's evidence keeps this much of a worker's error message. */
  detailChars: 500,
} as const;

/** The HTTP API. */
export const HTTP = {
  methods: ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'],
  /** Time for a whole request to arrive. A slower client would hold a connection. */
  requestMs: 30 * SECOND_MS,
  /** Interval of the check for requests over `requestMs`. */
  requestCheckMs: 5 * SECOND_MS,
  /** `timeoutMs` of a wait: the default, and the most. */
  waitMs: 30 * SECOND_MS,
  waitMaxMs: 10 * MINUTE_MS,
  /** One answer with logs holds at most this much, from the end of the logs. */
  logBytes: 16 * 1024 * 1024,
  /** A webhook has the metadata of a room and of a participant, up to 512 KiB each by LiveKit's bounds, escaped as JSON. */
  webhookBytes: 2 * 1024 * 1024,
  /** A listener that closes waits this long for its open requests, then cuts them. */
  closeMs: 1 * SECOND_MS,
  /** Interval of the check for new output of a followed log. */
  followMs: 250,
} as const;

/** The command line. */
export const CLI = {
  /** The output of a worker whose start failed: read from its end, and printed. */
  shownBytes: 4096,
  shownLines: 5,
  shownChars: 200,
  /** Width of the output where the terminal does not report one. */
  columns: 80,
  connectMs: 3 * SECOND_MS,
  /** Interval of the poll while `curfew drain` waits. */
  drainPollMs: 500,
  /** `curfew drain` prints the time left at most this often. */
  drainReportMs: 10 * SECOND_MS,
  /** `curfew drain` waits this long for a crashed supervisor to start again. */
  drainBackMs: 15 * SECOND_MS,
  /** A supervisor that does not answer a health request within this counts as hung. */
  aliveMs: 3 * SECOND_MS,
  /** More than `HTTP.waitMaxMs`, the longest wait that a command can request. */
  answerMs: 11 * MINUTE_MS,
  /** The oldest major version of Node with the `node:sqlite` that curfew needs, and the one in the tests. */
  nodeMajor: 24,
  /** Of a service. */
  defaultSocket: '/run/curfew/curfew.sock',
  /** Of `npm start`, relative to the working directory. */
  devSocket: '.curfew/curfew.sock',
} as const;
