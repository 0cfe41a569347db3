/** Bounds of forwarded logs (`logs.forward`). Milliseconds and bytes. */
import { SECOND_MS } from './time-units.ts';

export const FORWARD = {
  /** A longer line is cut here. */
  lineBytes: 8 * 1024,
  /** A line as JSON with its fields and newline has at most this size, at which Docker splits a line. Escapes need up to 6 bytes. */
  encodedBytes: 16 * 1024,
  /** Room in it for the mark of a cut. */
  markBytes: 64,
  /** Lines that wait for a slow reader, of all workers together. */
  waitingBytes: 4 * 1024 * 1024,
  /** One worker's share of them. */
  workerShare: 1 / 8,
  /** This much of a worker waits even when the others have filled the rest, so that a quiet worker loses no line. */
  reservedBytes: 16 * 1024,
  /** The reserves of all workers together. */
  reservesBytes: 4 * 1024 * 1024,
  /** One write. */
  batchBytes: 64 * 1024,
  /** One read of one log, before the other logs have their turn. */
  readBytes: 256 * 1024,
  /** Pause between two rounds over all logs, and per log, so that many logs cost no more than a few. */
  roundMs: 100,
  roundSpacingMs: 1,
  /** Interval of the files that hold how far each log was forwarded. */
  noteMs: 1 * SECOND_MS,
  /** Wait before the next attempt of a failed write. */
  retryMs: 1 * SECOND_MS,
  /** A full terminal is tried again after this. */
  terminalMs: 10,
  /** curfew's own log names dropped lines at most this often. */
  warnMs: 60 * SECOND_MS,
  /** A stop waits this long for the reader, and a little longer for the thread. */
  flushMs: 1 * SECOND_MS,
  closeMs: 2 * SECOND_MS,
  /** `curfew capacity` names this many workers with dropped lines. */
  named: 100,
} as const;
