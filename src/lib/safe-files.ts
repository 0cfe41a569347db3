/**
 * Files in folders where a worker may write. A FIFO without a writer would block a reader for ever. A link would lead to
 * another file. An endless file would fill the memory. All three are refused. Source: open(2), fifo(7).
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

const { O_RDONLY, O_RDWR, O_WRONLY, O_APPEND, O_CREAT, O_TRUNC, O_NONBLOCK, O_NOFOLLOW } = constants;
const SAFE = O_NONBLOCK | O_NOFOLLOW;

/**
 * Flags for `open`. A link is an error at once. So is a FIFO without a reader, for a write.
 * Because: a worker may hold a lease on its file. Without O_NONBLOCK the open waits until the lease is given up.
 * Source: open(2), fcntl(2).
 */
export const OPEN_FLAGS = {
  read: O_RDONLY | SAFE,
  change: O_RDWR | SAFE,
  append: O_WRONLY | O_APPEND | SAFE,
  /** Writes a whole file. */
  replace: O_WRONLY | O_CREAT | O_TRUNC | SAFE,
} as const;

/** Opens a file to read. Rejects when the path is not a plain file. */
export async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, OPEN_FLAGS.read);
  try {
    if ((await file.stat()).isFile()) return file;
    throw notPlain(path);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The whole text of a file. Rejects when the path is not a plain file, or the file has more than `maxBytes`. */
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

/** The same, synchronously. `links`: a person may have made a link in the state directory itself. */
export function readFileSafelySync(
  path: string,
  maxBytes: number,
  links: 'refused' | 'followed' = 'refused',
): string {
  const fd = openSync(path, links === 'followed' ? OPEN_FLAGS.read & ~O_NOFOLLOW : OPEN_FLAGS.read);
  try {
    if (!fstatSync(fd).isFile()) throw notPlain(path);
    const buffer = Buffer.allocUnsafe(maxBytes + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length <= maxBytes; length += got)
      got = readSync(fd, buffer, length, buffer.length - length, null);
    return textOf(buffer, { path, length, maxBytes });
  } finally {
    closeSync(fd);
  }
}

/** Writes a whole file with mode 0600. `flush`: the file survives a power cut. Throws when the path is not a plain file. */
export function writeFileSafelySync(path: string, text: string, { flush = false } = {}): void {
  const fd = openSync(path, OPEN_FLAGS.replace, 0o600);
  try {
    if (!fstatSync(fd).isFile()) throw notPlain(path);
    writeFileSync(fd, text, { flush });
  } finally {
    closeSync(fd);
  }
}

/** For a path that other code opens. SQLite, for example, would wait for a FIFO's writer. */
export function isPlainFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The target of a link. Empty: the path is not a link, or does not exist. */
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

function notPlain(path: string): Error {
  return new Error(`${path} is not a plain file`);
}
