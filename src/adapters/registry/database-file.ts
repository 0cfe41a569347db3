/** What tells that a database's file is still the one that was opened. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';

/** Source: sqlite.org/fileformat.html. */
const HEADER = 'SQLite format 3\0';

export function hasHeader(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(HEADER.length);
    return readSync(fd, start, 0, start.length, 0) === start.length && start.toString('latin1') === HEADER;
  } finally {
    closeSync(fd);
  }
}

export function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
