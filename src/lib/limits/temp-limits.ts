/** Bounds of the workers' temporary folders. Milliseconds and bytes. */
import { MINUTE_MS, SECOND_MS } from './time-units.ts';

export const TEMP = {
  /** Used where the supervisor has no TMPDIR, or where its TMPDIR is too long. */
  dir: '/tmp',
  /**
   * The longest `temp_dir`. A worker's folder then has at most 60 bytes. Because: Python's multiprocessing adds up to 32
   * bytes for its Unix sockets, and the kernel allows 107. Source: unix(7).
   */
  dirBytes: 31,
  /** The folder of one instance is this, and the first characters of the instance's id. */
  prefix: 'curfew-',
  instanceChars: 8,
  nameChars: 10,
  /** Names that a supervisor tries when another user already has the first one. */
  rootTries: 10,
  /** The removal of one folder is given up for now after this many errors. The next cleanup tries again. */
  removeErrors: 1000,
  /** Random bytes in the name to which a removal moves a folder. */
  movedBytes: 8,
  /** The supervisor's end waits this long for removals. */
  closeMs: 2 * SECOND_MS,
  /** Default of `temp_max`. */
  maxBytes: 1024 * 1024 * 1024,
  /** Interval of the check of the sizes. */
  checkMs: 1 * MINUTE_MS,
  /** One check of one folder looks at this many files at most. */
  checkFiles: 5000,
  /** A folder that is younger is never removed by a cleanup. */
  graceMs: 1 * MINUTE_MS,
} as const;
