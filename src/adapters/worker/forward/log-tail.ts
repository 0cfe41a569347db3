/** Reads the new output of one log, and keeps its place when the log is cut. Synchronous: it runs on the thread that cuts logs. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FORWARD } from '../../../lib/limits/forward-limits.ts';
import { LineAssembler } from '../../../lib/line-assembler.ts';
import { OPEN_FLAGS, readFileSafelySync, writeFileSafelySync } from '../../../lib/safe-files.ts';
import { NOTICE_BYTES, readNotice } from '../log/drop-log.ts';
import type { Moved } from '../log/trim-log.ts';
import type { LineOwner } from './forwarded-line.ts';
import type { LineQueue } from './line-queue.ts';

const NOTE_BYTES = 32;

/** `start`: a new worker. `noted`: a worker of an earlier supervisor, which noted its place in the worker's folder. */
export type TailFrom = 'start' | 'noted';

export class LogTail {
  owner: LineOwner;
  readonly path: string;
  readonly #lines = new LineAssembler(FORWARD.lineBytes);
  readonly #note: string;
  /** `null`: the end of the log, where forwarding was off before. */
  #at: number | null;
  #noted = -1;

  constructor(path: string, owner: LineOwner, from: TailFrom) {
    this.path = path;
    this.owner = owner;
    this.#note = join(dirname(path), 'forwarded');
    this.#at = from === 'start' ? 0 : notedAt(this.#note);
  }

  /** Reads one chunk. True: the log has more. */
  read(chunk: Buffer, queue: LineQueue): boolean {
    let file: number;
    try {
      file = openSync(this.path, OPEN_FLAGS.read);
    } catch {
      // A lease of the worker, or a pruned folder. The next round tries again.
      return false;
    }
    try {
      const info = fstatSync(file);
      if (!info.isFile()) return false;
      const at = this.#placeIn(file, info.size, queue);
      const bytes = readSync(file, chunk, 0, chunk.length, at);
      this.#at = at + bytes;
      this.#lines.push(chunk.subarray(0, bytes), (line) => queue.add(this.owner, line));
      return this.#at < info.size;
    } catch {
      return false;
    } finally {
      closeSync(file);
    }
  }

  /** The log was cut on this thread. Cut bytes that were not read before count as lost. */
  moved({ byBytes, tailStart, sizeBytes }: Moved, queue: LineQueue): void {
    if (this.#at === null || this.#at < tailStart) return;
    const to = this.#at - byBytes;
    if (to < tailStart) queue.lost(this.owner, tailStart - to + this.#lines.reset());
    this.#at = Math.min(Math.max(to, tailStart), sizeBytes);
  }

  /** The worker has ended, and its whole log was read. */
  end(queue: LineQueue): void {
    const last = this.#lines.end();
    if (last !== null) queue.add(this.owner, last);
  }

  /** Writes the place of the first line that was not forwarded. Without the file a later supervisor goes on at the end. */
  note(): void {
    if (this.#at === null) return;
    const place = Math.max(0, this.#at - this.#lines.openBytes);
    if (place === this.#noted) return;
    try {
      writeFileSafelySync(this.#note, `${place}\n`);
      this.#noted = place;
    } catch {
      // A full disk. The next note tries again.
    }
  }

  /** A log that is shorter than the place was dropped or replaced by its worker. */
  #placeIn(file: number, sizeBytes: number, queue: LineQueue): number {
    if (this.#at !== null && this.#at <= sizeBytes) return this.#at;
    const openBytes = this.#lines.reset();
    const start = Buffer.alloc(Math.min(NOTICE_BYTES, sizeBytes));
    readSync(file, start, 0, start.length, 0);
    const notice = readNotice(start);
    if (this.#at !== null && notice !== null) {
      // All bytes that the log ever had, less the bytes that were read.
      const unreadBytes = notice.goneBytes + sizeBytes - notice.noticeBytes - this.#at;
      if (unreadBytes + openBytes > 0) queue.lost(this.owner, unreadBytes + openBytes);
    }
    return sizeBytes;
  }
}

function notedAt(path: string): number | null {
  try {
    const place = Number(readFileSafelySync(path, NOTE_BYTES));
    return Number.isSafeInteger(place) && place >= 0 ? place : null;
  } catch {
    return null;
  }
}
