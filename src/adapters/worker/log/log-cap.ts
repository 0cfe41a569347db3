/** Keeps the logs of live workers within their cap: head and tail stay, the middle is cut out and counted. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LOGS, WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { Watched } from './log-watcher.ts';
import { LogWatcher } from './log-watcher.ts';
import type { LogSizes } from './trim-log.ts';

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

/** How many files are asked at once. */
const LOOKS_AT_ONCE = 50;

/** Of many logs each is looked at less often, so that all of them cost what few do. */
function slowMs(count: number): number {
  return Math.max(WORKERS.logCheckMs, count * WORKERS.checkSpacingMs);
}

/** One timer for all logs; it goes faster while one of them grows fast. */
export function createLogCap({ log, sizes }: { readonly log: Log; readonly sizes: LogSizes }): LogCap {
  const logs = new Map<string, Watched>();
  const looks = new LogWatcher(log);
  let closed = false;
  let scarce = false;
  let timer = setTimeout(tick, WORKERS.logCheckMs).unref();

  async function tick(): Promise<void> {
    const all = [...logs.values()].filter((one) => !one.hangs);
    await lookForSpace(all[0]?.path ?? null);
    let fast = false;
    for (let at = 0; at < all.length && !closed; at += LOOKS_AT_ONCE) {
      const grown = await Promise.all(
        all.slice(at, at + LOOKS_AT_ONCE).map((one) => looks.look(one, allowed(2))),
      );
      fast ||= grown.some((bytes) => bytes > sizes.tailBytes / 16);
    }
    if (!closed) timer = setTimeout(tick, fast ? WORKERS.logCheckFastMs : slowMs(all.length)).unref();
  }

  /** Records and other workers need the disk as well. */
  async function lookForSpace(path: string | null): Promise<void> {
    const isFull = path !== null && (await isAlmostFull(path));
    if (isFull && !scarce)
      log.error({ path: dirname(path) }, 'the disk is almost full: logs of workers are cut short');
    scarce = isFull;
  }

  /** A log that grows steadily is not copied at each look. */
  const allowed = (slack: number) => (scarce ? { sizes: shortened(sizes), slack: 1 } : { sizes, slack });

  return {
    watch(workerId, path) {
      const unseen = { sizeBytes: 0, cutBytes: 0, look: Promise.resolve(), failing: false, hangs: false };
      logs.set(workerId, { workerId, path, ...unseen });
    },
    async finish(workerId) {
      const watched = logs.get(workerId);
      logs.delete(workerId);
      if (watched) await looks.look(watched, allowed(1));
    },
    close() {
      closed = true;
      clearTimeout(timer);
      looks.close();
    },
  };
}
