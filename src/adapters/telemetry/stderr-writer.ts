/** Lines to stderr that no full disk, slow or absent reader turns into an error: what is not taken waits, up to a bound, then is counted. */
import { writeSync } from 'node:fs';
import { LOG } from '../../lib/limits/storage-limits.ts';

const FD = 2;

/** `lossOf`: the line that says how many were dropped. */
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
      // There is nobody to tell it to.
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
