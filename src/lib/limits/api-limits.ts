/** Bounds of the HTTP API and the CLI. Milliseconds, bytes and characters. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

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
