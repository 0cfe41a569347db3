/**
 * Files in places where a worker may write. There a FIFO without a writer would hold a reader for ever, a link lead to another
 * file, and one without an end fill the memory: all three are refused. Source: open(2), fifo(7).
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

const { O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK, O_NOFOLLOW } = constants;
const FLAGS = O_RDONLY | O_NONBLOCK | O_NOFOLLOW;

/** For writing a whole file there: a FIFO that nobody reads, or a link, is an error at once. */
export const WRITE_FLAGS = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOFOLLOW;

/** Rejects for what is no plain file. */
export async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, FLAGS);
  try {
    if ((await file.stat()).isFile()) return file;
    throw strange(path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Rejects, too, for a file with more than that many bytes. */
export async function readFileSafely(path: string, maxBytes: number): Promise<string> {
  const file = await openRegular(path);
  try {
    const buffer = Buffer.allocUnsafe(maxBytes + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length <= maxBytes; length += got)
      got = (await file.read(buffer, length, buffer.length - length)).bytesRead;
    return textOf(buffer, { path, length, maxBytes });
  } finally {
    await file.close();
  }
}

/** The same at once. `links`: in the state directory itself a person may have put one. */
export function readFileSafelySync(
  path: string,
  maxBytes: number,
  links: 'refused' | 'followed' = 'refused',
): string {
  const fd = openSync(path, links === 'followed' ? FLAGS & ~O_NOFOLLOW : FLAGS);
  try {
    if (!fstatSync(fd).isFile()) throw strange(path);
    const buffer = Buffer.allocUnsafe(maxBytes + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length <= maxBytes; length += got)
      got = readSync(fd, buffer, length, buffer.length - length, null);
    return textOf(buffer, { path, length, maxBytes });
  } finally {
    closeSync(fd);
  }
}

/** A whole file at once, readable by its owner alone. `flush`: it survives a power cut. */
export function writeFileSafelySync(path: string, text: string, { flush = false } = {}): void {
  const fd = openSync(path, WRITE_FLAGS, 0o600);
  try {
    if (!fstatSync(fd).isFile()) throw strange(path);
    writeFileSync(fd, text, { flush });
  } finally {
    closeSync(fd);
  }
}

/** Asked before a path is opened by others than us: SQLite waits for a FIFO's writer. */
export function isPlainFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Where a link leads; empty for what is none, or is gone. */
export function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function textOf(
  buffer: Buffer,
  { path, length, maxBytes }: { path: string; length: number; maxBytes: number },
): string {
  if (length > maxBytes) throw new Error(`${path} has more than ${maxBytes} bytes`);
  return buffer.toString('utf8', 0, length);
}

function strange(path: string): Error {
  return new Error(`${path} is not a plain file`);
}
