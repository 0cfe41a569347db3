/** Cuts the middle out of a log in place while the worker appends to it. Keeps head and tail, and counts the cut bytes. */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { OPEN_FLAGS } from '../../../lib/safe-files.ts';

export interface LogSizes {
  readonly headBytes: number;
  readonly tailBytes: number;
}

export interface Trim {
  readonly path: string;
  readonly sizes: LogSizes;
  readonly cutBefore: number;
}

const CHUNK_BYTES = 1024 * 1024;
/**
 * Race: the worker appends during the copy. Each pass copies what came meanwhile.
 * If a worker writes faster than that, the last pass cuts and counts the rest.
 */
const COPY_PASSES = 32;
const CUT_DIGITS = 15;

/** Where the kept tail went. A reader of the log corrects its place with it. */
export interface Moved {
  /** The tail moved towards the start by this much. */
  readonly byBytes: number;
  /** The start of the tail, in the new file. */
  readonly tailStart: number;
  /** The size of the new file. */
  readonly sizeBytes: number;
}

/** The marker has a fixed length, so that the next trim knows the start of the tail. */
function markerOf(cutBytes: number): string {
  return `\n--- curfew cut ${String(cutBytes).padStart(CUT_DIGITS)} bytes here ---\n`;
}

const MARKER_BYTES = markerOf(0).length;
const MARKER = /^\n--- curfew cut +(\d+) bytes here ---\n$/;

/** The size of a log right after a trim. */
export function cappedBytes(sizes: LogSizes): number {
  return sizes.headBytes + MARKER_BYTES + sizes.tailBytes;
}

/**
 * Returns all bytes cut so far, `cutBefore` included. Throws errors of the file system. `onMoved` is called for a cut.
 * Race: bytes written between the last `fstat` and `ftruncate` are lost and not counted.
 * So this function is synchronous, to keep that time short. It blocks, so it runs on a thread of its own.
 */
export function trimLog({ path, sizes, cutBefore }: Trim, onMoved?: (moved: Moved) => void): number {
  const file = openSync(path, OPEN_FLAGS.change);
  try {
    const { size } = fstatSync(file);
    if (size <= cappedBytes(sizes)) return cutBefore;
    const cut = cutMiddle(file, size, { sizes, cutBefore: cutBefore || cutByEarlier(file, sizes) });
    onMoved?.(cut.moved);
    return cut.cutBytes;
  } finally {
    closeSync(file);
  }
}

function cutMiddle(
  file: number,
  sizeBytes: number,
  { sizes, cutBefore }: Omit<Trim, 'path'>,
): { readonly cutBytes: number; readonly moved: Moved } {
  const start = sizes.headBytes + MARKER_BYTES;
  let [from, to, end] = [sizeBytes - sizes.tailBytes, start, sizeBytes];
  for (let pass = 0; pass < COPY_PASSES && from < end; pass += 1) {
    if (end - from > sizes.tailBytes) [from, to] = [end - sizes.tailBytes, start];
    to += copyDown(file, { from, to, end });
    from = end;
    end = fstatSync(file).size;
  }
  ftruncateSync(file, to);
  const firstMarker = cutBefore === 0 ? MARKER_BYTES : 0;
  const cutBytes = cutBefore + end - to + firstMarker;
  writeSync(file, markerOf(cutBytes), sizes.headBytes);
  return { cutBytes, moved: { byBytes: from - to, tailStart: start, sizeBytes: to } };
}

/** The bytes that an earlier supervisor cut from this log. The marker holds their number. */
function cutByEarlier(file: number, { headBytes }: LogSizes): number {
  const marker = Buffer.alloc(MARKER_BYTES);
  readSync(file, marker, 0, MARKER_BYTES, headBytes);
  return Number(MARKER.exec(marker.toString('latin1'))?.[1] ?? 0);
}

/** Copies towards the start of the file in ascending order, so that source and target may overlap. */
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
