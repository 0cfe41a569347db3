/** The boot-time clock over a host that stops the supervisor between any two of its readings. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';

const RECHECKED_MS = 600;
/** Of /proc/uptime. */
const RESOLUTION_MS = 10;

let monotonicMs: number;
let suspendedMs: number;
/** How long it is stopped before and after each of the next looks at the uptime. */
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
  it('counts a suspend', () => {
    const now = open();
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
    suspendedMs += 3_600_000;
    monotonicMs += RECHECKED_MS;
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it.each(['before', 'after'])('is right although it was stopped %s a reading', (when) => {
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

  it('is right although it was stopped in its first reading', () => {
    stops.push({ after: 300 });
    const now = open();
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it('believes no reading in which it was stopped each time, and asks again', () => {
    const now = open();
    suspendedMs += 60_000;
    monotonicMs += RECHECKED_MS;
    stops.push(...Array.from({ length: 3 }, () => ({ after: 300 })));
    expect(now()).toBeLessThan(trueMs() - 59_000);
    expect(Math.abs(now() - trueMs())).toBeLessThanOrEqual(RESOLUTION_MS);
  });

  it('stands still rather than going back', () => {
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

describe('an alarm', () => {
  afterEach(() => vi.useRealTimers());

  it('comes soon after a suspend that lasted beyond it, though its timer stood still meanwhile', () => {
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
