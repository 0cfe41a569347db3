/** The host's boot-time clock. It includes the time of a suspend and never goes back. Source: /proc/uptime, 10 ms resolution. */
import { openSync, readSync } from 'node:fs';
import type { Clock } from '../../ports/clock.ts';

/** Node's timers do not advance in a suspend. So each timer re-reads the clock at least this often. */
const LONGEST_WAIT_MS = 10_000;
/** More drift than the resolution of /proc/uptime explains. Then the monotonic clock stopped, as in a suspend. */
const DRIFT_MS = 50;
const RECHECK_MS = 500;
/** The longest time between the monotonic readings before and after a reading of the uptime. More means an unknown pause. */
const TIGHT_MS = 5;
const TRIES = 3;

interface Readers {
  uptimeMs(): number;
  monotonicMs(): number;
}

interface Sample {
  readonly offsetMs: number;
  readonly widthMs: number;
}

export function createClock(readers: Readers = hostReaders()): Clock {
  let { offsetMs } = tightest(readers);
  let checkedMs = readers.monotonicMs();
  let latestMs = Number.NEGATIVE_INFINITY;

  const bootMs = () => {
    const monotonicMs = readers.monotonicMs();
    if (monotonicMs - checkedMs > RECHECK_MS) {
      const sample = tightest(readers);
      // A wide sample is worse than the known offset. The next call takes another one.
      if (sample.widthMs <= TIGHT_MS) {
        checkedMs = monotonicMs;
        if (Math.abs(sample.offsetMs - offsetMs) > DRIFT_MS) offsetMs = sample.offsetMs;
      }
    }
    latestMs = Math.max(latestMs, monotonicMs + offsetMs);
    return latestMs;
  };

  return {
    now: () => ({ bootMs: bootMs(), wallMs: Date.now() }),
    at: (dueMs, callback) => setAlarm(bootMs, dueMs, callback),
  };
}

function tightest(readers: Readers): Sample {
  let best = takeSample(readers);
  for (let tries = 1; tries < TRIES && best.widthMs > TIGHT_MS; tries++) {
    const sample = takeSample(readers);
    if (sample.widthMs < best.widthMs) best = sample;
  }
  return best;
}

function takeSample({ uptimeMs, monotonicMs }: Readers): Sample {
  const beforeMs = monotonicMs();
  const upMs = uptimeMs();
  const widthMs = monotonicMs() - beforeMs;
  return { offsetMs: upMs - (beforeMs + widthMs / 2), widthMs };
}

function hostReaders(): Readers {
  const fd = openSync('/proc/uptime', 'r');
  const buffer = Buffer.alloc(64);
  return {
    uptimeMs: () => {
      const length = readSync(fd, buffer, 0, buffer.length, 0);
      return Number.parseFloat(buffer.toString('latin1', 0, length)) * 1000;
    },
    monotonicMs: () => performance.now(),
  };
}

/** Because: a timer of Node may fire up to 1 ms early. So the timer is set again until the time has come. */
function setAlarm(bootMs: () => number, dueMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout;
  const set = () => {
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(0, Math.ceil(dueMs - bootMs())));
    timer = setTimeout(() => (bootMs() >= dueMs ? callback() : set()), waitMs);
  };
  set();
  return () => clearTimeout(timer);
}
