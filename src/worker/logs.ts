/** Keeps the logs of live workers within their cap: head and tail stay, the middle is cut out and counted. */
import type { FileHandle } from 'node:fs/promises';
import { constants, open, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../errors.ts';
import { LOGS, WORKERS } from '../limits.ts';
import type { Log } from '../ports.ts';

interface LogSizes {
  readonly headBytes: number;
  readonly tailBytes: number;
}

const CHUNK_BYTES = 1024 * 1024;
/** One trim copies again what was written meanwhile, but does not chase a writer for ever. */
const CATCH_UPS = 4;
const CUT_DIGITS = 15;

/** Always of one length, so that the next trim finds the tail where this one put it. */
function markerOf(cutBytes: number): string {
  return `\n--- curfew cut ${String(cutBytes).padStart(CUT_DIGITS)} bytes here ---\n`;
}

const MARKER_BYTES = markerOf(0).length;

/** The size of a log that was just trimmed. */
function cappedBytes(sizes: LogSizes): number {
  return sizes.headBytes + MARKER_BYTES + sizes.tailBytes;
}

/**
 * Cuts the middle out of the file in place, while the worker appends to it. What it writes between the last look and
 * the cut is lost uncounted. Returns how many bytes were cut so far, `cutBefore` included.
 */
async function trimLog(path: string, sizes: LogSizes, cutBefore: number): Promise<number> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    if (size <= cappedBytes(sizes)) return cutBefore;
    return await cutMiddle(file, size, { sizes, cutBefore });
  } finally {
    await file.close();
  }
}

async function cutMiddle(
  file: FileHandle,
  sizeBytes: number,
  { sizes, cutBefore }: { readonly sizes: LogSizes; readonly cutBefore: number },
): Promise<number> {
  const start = sizes.headBytes + MARKER_BYTES;
  let [from, to, end] = [sizeBytes - sizes.tailBytes, start, sizeBytes];
  for (let pass = 0; pass < CATCH_UPS && from < end; pass += 1) {
    if (end - from > sizes.tailBytes) [from, to] = [end - sizes.tailBytes, start];
    to += await copyDown(file, { from, to, end });
    from = end;
    end = (await file.stat()).size;
  }
  await file.truncate(to);
  const firstMarker = cutBefore === 0 ? MARKER_BYTES : 0;
  const cutBytes = cutBefore + end - to + firstMarker;
  await file.write(markerOf(cutBytes), sizes.headBytes);
  return cutBytes;
}

/** Towards the file's start and in ascending order, so that source and target may overlap. */
async function copyDown(
  file: FileHandle,
  { from, to, end }: { readonly from: number; readonly to: number; readonly end: number },
): Promise<number> {
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - from));
  let copied = 0;
  while (from + copied < end) {
    const wanted = Math.min(chunk.length, end - from - copied);
    const { bytesRead } = await file.read(chunk, 0, wanted, from + copied);
    if (bytesRead === 0) break;
    await file.write(chunk, 0, bytesRead, to + copied);
    copied += bytesRead;
  }
  return copied;
}

async function isAlmostFull(path: string): Promise<boolean> {
  try {
    const { bavail, blocks, bsize } = await statfs(dirname(path));
    return bavail * bsize < Math.min(LOGS.scarceBytes, LOGS.scarceShare * blocks * bsize);
  } catch {
    return false;
  }
}

function shortened({ headBytes, tailBytes }: LogSizes): LogSizes {
  const short = (bytes: number) => Math.ceil(bytes / LOGS.scarceDivisor);
  return { headBytes: short(headBytes), tailBytes: short(tailBytes) };
}

export interface LogCap {
  watch(workerId: string, path: string): void;
  /** The last cut, after the last of the tree; never rejects. */
  finish(workerId: string): Promise<void>;
  close(): void;
}

interface Watched {
  readonly path: string;
  sizeBytes: number;
  cutBytes: number;
  /** The look under way, so that no two cut the same file. */
  look: Promise<void>;
  /** What failed is said once, until it works again. */
  failing: boolean;
}

/** How many files are asked at once. */
const LOOKS_AT_ONCE = 50;

/** Of many logs each is looked at less often, so that all of them cost what few do. */
function slowMs(count: number): number {
  return Math.max(WORKERS.logLookMs, count * WORKERS.lookMs);
}

/** One timer for all logs; it goes faster while one of them grows fast. */
export function createLogCap({ log, sizes }: { readonly log: Log; readonly sizes: LogSizes }): LogCap {
  const logs = new Map<string, Watched>();
  let closed = false;
  let scarce = false;
  let timer = setTimeout(tick, WORKERS.logLookMs).unref();

  async function tick(): Promise<void> {
    const all = [...logs.entries()];
    await lookForSpace(all[0]?.[1].path ?? null);
    let fast = false;
    for (let at = 0; at < all.length; at += LOOKS_AT_ONCE) {
      const grown = await Promise.all(all.slice(at, at + LOOKS_AT_ONCE).map((one) => look(...one, 2)));
      fast ||= grown.some((bytes) => bytes > sizes.tailBytes / 16);
    }
    if (!closed) timer = setTimeout(tick, fast ? WORKERS.logLookFastMs : slowMs(all.length)).unref();
  }

  /** Records and other workers need the disk as well. */
  async function lookForSpace(path: string | null): Promise<void> {
    const isFull = path !== null && (await isAlmostFull(path));
    if (isFull && !scarce)
      log.error({ path: dirname(path) }, 'the disk is almost full: logs of workers are cut short');
    scarce = isFull;
  }

  /** By how much it grew. Cut only at several times its size: a log that grows steadily is not copied at each look. */
  async function look(workerId: string, watched: Watched, slack: number): Promise<number> {
    let grownBytes = 0;
    watched.look = watched.look.then(async () => {
      try {
        grownBytes = await cap(watched, slack);
        watched.failing = false;
      } catch (error) {
        if (!watched.failing)
          log.warn({ worker: workerId, error: messageOf(error) }, 'the log of a worker could not be cut');
        watched.failing = true;
      }
    });
    await watched.look;
    return grownBytes;
  }

  async function cap(watched: Watched, slack: number): Promise<number> {
    const allowed = scarce ? shortened(sizes) : sizes;
    const { size } = await stat(watched.path);
    const grownBytes = size - watched.sizeBytes;
    const due = size > (scarce ? 1 : slack) * cappedBytes(allowed);
    if (due) watched.cutBytes = await trimLog(watched.path, allowed, watched.cutBytes);
    watched.sizeBytes = due ? cappedBytes(allowed) : size;
    return grownBytes;
  }

  return {
    watch: (workerId, path) =>
      void logs.set(workerId, { path, sizeBytes: 0, cutBytes: 0, look: Promise.resolve(), failing: false }),
    async finish(workerId) {
      const watched = logs.get(workerId);
      logs.delete(workerId);
      if (watched) await look(workerId, watched, 1);
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
