/** Keeps the logs of live workers within their cap: head and tail stay, the middle is cut out and counted. */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../errors.ts';
import { LOGS, WORKERS } from '../limits.ts';
import type { Log } from '../ports.ts';
import type { LogSizes } from './trim.ts';
import { cappedBytes } from './trim.ts';
import { Trimmer } from './trimmer.ts';

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
  const trimmer = new Trimmer();
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
    const { path, cutBytes: cutBefore } = watched;
    const { size } = await stat(path);
    const grownBytes = size - watched.sizeBytes;
    const due = size > (scarce ? 1 : slack) * cappedBytes(allowed);
    if (due) watched.cutBytes = await trimmer.trim({ path, sizes: allowed, cutBefore });
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
      trimmer.close();
    },
  };
}
