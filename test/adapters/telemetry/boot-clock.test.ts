/** The boot clock on a host that suspends the supervisor between any two readings. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';

const RECHECKED_MS = 600;
/** The resolution of /proc/uptime. */
const RESOLUTION_MS = 10;

let monotonicMs: number;
let suspendedMs: number;
/** For each of the next readings of the uptime: for how long the process is stopped before and after the reading. */
let stops: { before?: number; after?: number }[];
beforeEach(() => {
  [monotonicMs, suspendedMs, stops] = [5_000, 1_000_000, []];
});

const trueMs = () => monotonicMs + suspendedMs;
const open = () => {
  const clock = createClock({
    monotonicMs: () => monotonicMs,
    uptimeMs: () => {
      const { before = 0, after = 0 } = stops.shift() ?? {};
      monotonicMs += before;
      const uptimeMs = Math.floor(trueMs() / RESOLUTION_MS) * RESOLUTION_MS;
      monotonicMs += after;
      return uptimeMs;
    },
  });
  return () => clock.now().bootMs;
};

describe('the boot clock', () => {
  it('counts the time of a suspend', () => {
    const now = open();
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
    suspendedMs += 3_600_000;
    monotonicMs += RECHECKED_MS;
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it.each(['before', 'after'])('is right although the process was stopped %s a reading', (when) => {
    const now = open();
    for (let turn = 0; turn < 3; turn++) {
      monotonicMs += RECHECKED_MS;
      const beforeMs = now();
      stops.push({ [when]: 300 });
      monotonicMs += RECHECKED_MS;
      expect(now()).toBeGreaterThanOrEqual(beforeMs + RECHECKED_MS);
      expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
    }
  });

  it('is right although the process was stopped in the first reading', () => {
    stops.push({ after: 300 });
    const now = open();
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it('rejects readings during which the process was stopped, and reads again', () => {
    const now = open();
    suspendedMs += 60_000;
    monotonicMs += RECHECKED_MS;
    stops.push(...Array.from({ length: 3 }, () => ({ after: 300 })));
    expect(now()).toBeLessThan(trueMs() - 59_000);
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it('stops for a while and never goes back', () => {
    stops.push(...Array.from({ length: 3 }, () => ({ before: 300 })));
    const now = open();
    monotonicMs += RECHECKED_MS - 200;
    const aheadMs = now();
    expect(aheadMs - trueMs()).toBeGreaterThan(100);
    monotonicMs += 110;
    expect(now()).toBeGreaterThanOrEqual(aheadMs);
    monotonicMs += 10;
    expect(now()).toBeGreaterThanOrEqual(aheadMs);
    monotonicMs += RECHECKED_MS;
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });
});

describe('an alarm of the boot clock', () => {
  afterEach(() => vi.useRealTimers());

  it('rings soon after a suspend that lasted beyond its time, although its timer was suspended too', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const clock = createClock({ monotonicMs: () => monotonicMs, uptimeMs: trueMs });
    const rung = vi.fn();
    clock.at(clock.now().bootMs + 7_200_000, rung);
    const runs = (ms: number) => {
      monotonicMs += ms;
      vi.advanceTimersByTime(ms);
    };
    runs(10_000);
    suspendedMs += 7_200_000;
    expect(rung).not.toHaveBeenCalled();
    runs(10_000);
    expect(rung).toHaveBeenCalledOnce();
  });
});
