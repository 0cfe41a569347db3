/** Empties the log of an ended worker in place, or keeps its end. A line at its start says what was dropped, and why. */
import { open } from 'node:fs/promises';
import { OPEN_FLAGS } from '../../../lib/safe-files.ts';

/** No notice is longer. */
export const NOTICE_BYTES = 256;
const NOTICE = /^--- curfew dropped (\d+) bytes of this log: .*\n/;

export interface DropRequest {
  readonly path: string;
  /** This much of the end stays. */
  readonly keepBytes: number;
  readonly why: string;
}

/** The bytes that a log has lost, and the length of the notice that says so, from the start of the log. `null`: it has no notice. */
export function readNotice(
  start: Buffer,
): { readonly goneBytes: number; readonly noticeBytes: number } | null {
  const found = NOTICE.exec(start.toString('latin1'));
  return found === null ? null : { goneBytes: Number(found[1]), noticeBytes: found[0].length };
}

/**
 * Returns the number of bytes that went. Rejects with errors of the file system.
 * The file becomes empty before anything is written, so this works on a full disk. The times of the file stay, because the
 * retention goes by them.
 */
export async function dropLog({ path, keepBytes, why }: DropRequest): Promise<number> {
  const file = await open(path, OPEN_FLAGS.change);
  try {
    const info = await file.stat();
    if (!info.isFile()) return 0;
    const start = Buffer.alloc(Math.min(NOTICE_BYTES, info.size));
    await file.read(start, 0, start.length, 0);
    const earlier = readNotice(start);
    const textBytes = info.size - (earlier?.noticeBytes ?? 0);
    const tail = Buffer.alloc(Math.max(0, Math.min(keepBytes, textBytes)));
    await file.read(tail, 0, tail.length, info.size - tail.length);
    const goneBytes = textBytes - tail.length;
    await file.truncate(0);
    const notice = `--- curfew dropped ${goneBytes + (earlier?.goneBytes ?? 0)} bytes of this log: ${why} ---\n`;
    await file.write(Buffer.concat([Buffer.from(notice), tail]), 0, undefined, 0);
    await file.utimes(info.atime, info.mtime);
    return goneBytes;
  } finally {
    await file.close();
  }
}
