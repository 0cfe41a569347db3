/** The host's boot-time clock: counts a suspend and never jumps. Source: reference on /proc/uptime, 10 ms resolution. */
import { openSync, readSync } from 'node:fs';
import type { Clock } from '../ports.ts';

/** Node's timers hold at most this; later ones are set again when they fire. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** More than the resolution of /proc/uptime: the monotonic clock stood still, as in a suspend. */
const DRIFT_MS = 50;
const RECHECK_MS = 500;

export function createClock(): Clock {
  const fd = openSync('/proc/uptime', 'r');
  const buffer = Buffer.alloc(64);
  let offsetMs = readUptimeMs(fd, buffer) - performance.now();
  let checkedMs = performance.now();

  const bootMs = () => {
    const monotonicMs = performance.now();
    if (monotonicMs - checkedMs > RECHECK_MS) {
      checkedMs = monotonicMs;
      const trueOffsetMs = readUptimeMs(fd, buffer) - performance.now();
      if (Math.abs(trueOffsetMs - offsetMs) > DRIFT_MS) offsetMs = trueOffsetMs;
    }
    return monotonicMs + offsetMs;
  };

  return {
    now: () => ({ bootMs: bootMs(), wallMs: Date.now() }),
    at: (dueMs, callback) => setAlarm(bootMs, dueMs, callback),
  };
}

function readUptimeMs(fd: number, buffer: Buffer): number {
  const length = readSync(fd, buffer, 0, buffer.length, 0);
  return Number.parseFloat(buffer.toString('latin1', 0, length)) * 1000;
}

/** A timer of Node's may fire up to a millisecond early: it is set again until the time has come. */
function setAlarm(bootMs: () => number, dueMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout;
  const set = () => {
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(0, Math.ceil(dueMs - bootMs())));
    timer = setTimeout(() => (bootMs() >= dueMs ? callback() : set()), waitMs);
  };
  set();
  return () => clearTimeout(timer);
}
