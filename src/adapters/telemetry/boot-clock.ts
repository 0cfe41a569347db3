/** The host's boot-time clock: counts a suspend and never goes back. Source: reference on /proc/uptime, 10 ms resolution. */
import { openSync, readSync } from 'node:fs';
import type { Clock } from '../../ports/clock.ts';

/** Node's timers stand still in a suspend, so none waits longer than this before it looks at the clock again. */
const LONGEST_WAIT_MS = 10_000;
/** More than the resolution of /proc/uptime: the monotonic clock stood still, as in a suspend. */
const DRIFT_MS = 50;
const RECHECK_MS = 500;
/** Between the two readings around one of the uptime: with more, we were stopped between them, and who knows where. */
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
  let toldMs = Number.NEGATIVE_INFINITY;

  const bootMs = () => {
    const monotonicMs = readers.monotonicMs();
    if (monotonicMs - checkedMs > RECHECK_MS) {
      const sample = tightest(readers);
      // One that is not tight is worse than what is known: the next call asks again.
      if (sample.widthMs <= TIGHT_MS) {
        checkedMs = monotonicMs;
        if (Math.abs(sample.offsetMs - offsetMs) > DRIFT_MS) offsetMs = sample.offsetMs;
      }
    }
    toldMs = Math.max(toldMs, monotonicMs + offsetMs);
    return toldMs;
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

/** A timer of Node's may fire up to a millisecond early: it is set again until the time has come. */
function setAlarm(bootMs: () => number, dueMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout;
  const set = () => {
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(0, Math.ceil(dueMs - bootMs())));
    timer = setTimeout(() => (bootMs() >= dueMs ? callback() : set()), waitMs);
  };
  set();
  return () => clearTimeout(timer);
}
