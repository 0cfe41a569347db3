/** Keeps the logs of live workers within their cap: cuts out the middle, counts its bytes, keeps head and tail. */
import { dirname } from 'node:path';
import pTimeout from 'p-timeout';
import { FORWARD } from '../../../lib/limits/forward-limits.ts';
import { LOGS, WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { ForwardClient } from '../forward/forward-client.ts';
import type { TailFrom } from '../forward/log-tail.ts';
import { lackingBytes } from './disk-space.ts';
import type { WatchedLog } from './log-watcher.ts';
import { LogWatcher } from './log-watcher.ts';
import type { LogSizes } from './trim-log.ts';

function shortened({ headBytes, tailBytes }: LogSizes): LogSizes {
  const short = (bytes: number) => Math.ceil(bytes / LOGS.scarceDivisor);
  return { headBytes: short(headBytes), tailBytes: short(tailBytes) };
}

export interface LogCap {
  /** `from`: where forwarding begins, if logs are forwarded. Default: a new log. */
  watch(workerId: string, path: string, from?: TailFrom): void;
  /** Makes the last cut, after the tree is gone. Never rejects. */
  finish(workerId: string): Promise<void>;
  /** Resolves when the reader of forwarded lines has them all, or after a bound. Without forwarding at once. */
  close(): Promise<void>;
}

interface CapOptions {
  readonly log: Log;
  readonly sizes: LogSizes;
  /** Absent: no log is forwarded. */
  readonly forward?: ForwardClient | null;
}

const CHECKS_AT_ONCE = 50;

/** With many logs each is checked less often, so that the total cost stays the same. */
function slowMs(count: number): number {
  return Math.max(WORKERS.logCheckMs, count * WORKERS.checkSpacingMs);
}

/** One timer serves all logs. It runs faster while a log grows fast. */
export function createLogCap({ log, sizes, forward = null }: CapOptions): LogCap {
  const logs = new Map<string, WatchedLog>();
  const watcher = new LogWatcher(log, forward?.thread);
  let closed = false;
  let scarce = false;
  let timer = setTimeout(tick, WORKERS.logCheckMs).unref();

  async function tick(): Promise<void> {
    const all = [...logs.values()].filter((one) => !one.hangs);
    await checkDiskSpace(all[0]?.path ?? null);
    let fast = false;
    for (let at = 0; at < all.length && !closed; at += CHECKS_AT_ONCE) {
      const grown = await Promise.all(
        all.slice(at, at + CHECKS_AT_ONCE).map((one) => watcher.check(one, ruleWith(2))),
      );
      fast ||= grown.some((bytes) => bytes > sizes.tailBytes / 16);
    }
    if (!closed) timer = setTimeout(tick, fast ? WORKERS.logCheckFastMs : slowMs(all.length)).unref();
  }

  /** Records and other workers need the disk as well. */
  async function checkDiskSpace(path: string | null): Promise<void> {
    const isFull = path !== null && (await lackingBytes(dirname(path), LOGS.scarce).catch(() => 0)) > 0;
    if (isFull && !scarce)
      log.error(
        { path: dirname(path) },
        'the disk is almost full: logs of workers are cut to a smaller size; free some space',
      );
    scarce = isFull;
  }

  /** The slack avoids that a log with steady growth is copied at each check. */
  const ruleWith = (slack: number) => (scarce ? { sizes: shortened(sizes), slack: 1 } : { sizes, slack });

  return {
    watch(workerId, path, from = 'start') {
      const initial = { sizeBytes: 0, cutBytes: 0, check: Promise.resolve(), failing: false, hangs: false };
      logs.set(workerId, { workerId, path, ...initial });
      forward?.watch(workerId, path, from);
    },
    async finish(workerId) {
      const watched = logs.get(workerId);
      logs.delete(workerId);
      forward?.end(workerId);
      if (watched) await watcher.check(watched, ruleWith(1));
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      const over = watcher.close();
      // Nothing waits for a cut.
      if (forward !== null)
        await pTimeout(over, { milliseconds: FORWARD.closeMs, fallback: () => undefined });
    },
  };
}
