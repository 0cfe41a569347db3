/**
 * Writes lines to stderr. A full disk, a slow reader or no reader is never an error.
 * Lines that stderr does not take wait, up to a bound. Further lines are dropped and counted.
 */
import { writeSync } from 'node:fs';
import { LOG } from '../../lib/limits/storage-limits.ts';

const FD = 2;

/** `lossOf` makes the line that reports how many lines were dropped. */
export function createStderr(lossOf: (dropped: number) => string): { write(line: string): void } {
  const waiting: Buffer[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let isStuck = false;

  const keep = (line: string) => {
    const bytes = Buffer.from(line);
    waiting.push(bytes);
    waitingBytes += bytes.length;
  };
  const flush = () => {
    isStuck = false;
    try {
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        const written = writeSync(FD, next);
        waitingBytes -= written;
        if (written === next.length) waiting.shift();
        else waiting[0] = next.subarray(written);
      }
    } catch {
      // The log itself is broken, so the error cannot be logged.
      isStuck = true;
      setTimeout(flush, LOG.retryMs).unref();
    }
  };

  return {
    write: (line) => {
      if (waitingBytes > LOG.waitingBytes) {
        dropped += 1;
        return;
      }
      if (dropped > 0) keep(lossOf(dropped));
      dropped = 0;
      keep(line);
      if (!isStuck) flush();
    },
  };
}
