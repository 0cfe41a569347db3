/** Cuts the middle out of a log in place, while the worker appends to it: head and tail stay, and what was cut is counted. */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

export interface LogSizes {
  readonly headBytes: number;
  readonly tailBytes: number;
}

export interface Trim {
  readonly path: string;
  readonly sizes: LogSizes;
  readonly cutBefore: number;
}

/** A worker that holds a lease on its log would hold up its opener, and with it the cuts of all others. fcntl(2) */
const FLAGS = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const CHUNK_BYTES = 1024 * 1024;
/** What is written meanwhile is copied as well, but a writer that is faster is not chased for ever: the rest is cut and counted. */
const CATCH_UPS = 32;
const CUT_DIGITS = 15;

/** Always of one length, so that the next trim finds the tail where this one put it. */
function markerOf(cutBytes: number): string {
  return `\n--- curfew cut ${String(cutBytes).padStart(CUT_DIGITS)} bytes here ---\n`;
}

const MARKER_BYTES = markerOf(0).length;
const MARKER = /^\n--- curfew cut +(\d+) bytes here ---\n$/;

/** The size of a log that was just trimmed. */
export function cappedBytes(sizes: LogSizes): number {
  return sizes.headBytes + MARKER_BYTES + sizes.tailBytes;
}

/**
 * Returns how many bytes were cut so far, `cutBefore` included; throws what the file system says.
 * Only what is written between the last look and the cut is lost uncounted, so nothing else may come in between: this blocks, and
 * belongs on a thread of its own.
 */
export function trimLog({ path, sizes, cutBefore }: Trim): number {
  const file = openSync(path, FLAGS);
  try {
    const { size } = fstatSync(file);
    if (size <= cappedBytes(sizes)) return cutBefore;
    return cutMiddle(file, size, { sizes, cutBefore: cutBefore || cutByEarlier(file, sizes) });
  } finally {
    closeSync(file);
  }
}

function cutMiddle(file: number, sizeBytes: number, { sizes, cutBefore }: Omit<Trim, 'path'>): number {
  const start = sizes.headBytes + MARKER_BYTES;
  let [from, to, end] = [sizeBytes - sizes.tailBytes, start, sizeBytes];
  for (let pass = 0; pass < CATCH_UPS && from < end; pass += 1) {
    if (end - from > sizes.tailBytes) [from, to] = [end - sizes.tailBytes, start];
    to += copyDown(file, { from, to, end });
    from = end;
    end = fstatSync(file).size;
  }
  ftruncateSync(file, to);
  const firstMarker = cutBefore === 0 ? MARKER_BYTES : 0;
  const cutBytes = cutBefore + end - to + firstMarker;
  writeSync(file, markerOf(cutBytes), sizes.headBytes);
  return cutBytes;
}

/** What the supervisor before this one cut from the log of a worker that lives on. */
function cutByEarlier(file: number, { headBytes }: LogSizes): number {
  const marker = Buffer.alloc(MARKER_BYTES);
  readSync(file, marker, 0, MARKER_BYTES, headBytes);
  return Number(MARKER.exec(marker.toString('latin1'))?.[1] ?? 0);
}

/** Towards the file's start and in ascending order, so that source and target may overlap. */
function copyDown(
  file: number,
  { from, to, end }: { readonly from: number; readonly to: number; readonly end: number },
): number {
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - from));
  let copied = 0;
  while (from + copied < end) {
    const wanted = Math.min(chunk.length, end - from - copied);
    const read = readSync(file, chunk, 0, wanted, from + copied);
    if (read === 0) break;
    writeSync(file, chunk, 0, read, to + copied);
    copied += read;
  }
  return copied;
}
