/** The rule by which a loaded host holds new sessions back. */
import { describe, expect, it } from 'vitest';
import type { Admission, Request } from '../../src/core/admission/admission.ts';
import { expired, newAdmission, request, sampled, update } from '../../src/core/admission/admission.ts';
import { newHostLoad, noteSample } from '../../src/core/admission/host-load.ts';
import type { ClaimKey, SessionId } from '../../src/core/ids.ts';

const LIMITS = {
  sessions: 10,
  perUser: null,
  perAgent: {},
  startRatePerSecond: 1000,
  queue: 1,
  queueTimeoutMs: 30_000,
  cpu: 0.8,
  memoryFree: 0.1,
};
const ask = (name: string, more: Partial<Request> = {}): Request => ({
  sessionId: name as SessionId,
  claim: name as ClaimKey,
  quotas: ['host'],
  ...more,
});

/** Samples each 2.5 s with this use of the processor. */
function afterSamples(state: Admission, cpu: number, { fromMs, count }: { fromMs: number; count: number }) {
  let next = { state, grants: [] as readonly { sessionId: SessionId }[] };
  for (let at = 1; at <= count; at += 1) {
    const seen = sampled(next.state, { cpu, memoryFree: 0.5 }, fromMs + at * 2500);
    next = { state: seen.state, grants: [...next.grants, ...seen.grants] };
  }
  return next;
}

describe('a host over its limits', () => {
  const busy = () => {
    const first = request(newAdmission(LIMITS), ask('a'), 0).state;
    return afterSamples(first, 1, { fromMs: 0, count: 10 }).state;
  };

  it('lets a new session wait, refuses the next with the name of the limit, and serves the queue when it is free', () => {
    const waiting = request(busy(), ask('b'), 25_000);
    expect(waiting.answer.kind).toBe('queued');
    const refused = request(waiting.state, ask('c'), 25_000);
    expect(refused.answer).toMatchObject({ kind: 'full', quota: 'cpu', limit: 80 });
    expect(request(waiting.state, ask('d', { mayQueue: false }), 25_000).answer.kind).toBe('full');
    const free = afterSamples(waiting.state, 0.1, { fromMs: 25_000, count: 10 });
    expect(free.grants.map((one) => one.sessionId)).toEqual(['b']);
  });

  it('takes a session while it has none, and one at a time then', () => {
    const empty = update(busy(), 'a' as SessionId, null, 25_000).state;
    const first = request(empty, ask('b'), 25_000);
    expect(first.answer.kind).toBe('granted');
    expect(request(first.state, ask('c'), 25_000).answer.kind).toBe('queued');
  });

  it('names the load when the wait is over', () => {
    const { state } = request(busy(), ask('b'), 25_000);
    expect(expired(state, 60_000)).toEqual([
      { sessionId: 'b', detail: expect.stringMatching(/^limits.cpu: 9\d % in use, the limit is 80 %$/) },
    ]);
  });
});

describe('the smoothed load', () => {
  const note = (samples: readonly number[], limits = LIMITS) =>
    samples.reduce(
      (load, cpu, index) => noteSample(load, { cpu, memoryFree: 0.5 }, limits, (index + 1) * 2500),
      newHostLoad(0),
    );

  it('is not over its limit after a burst of some seconds', () => {
    expect(note([1, 1, 1]).over).toEqual([]);
    expect(note([1, 1, 1, 1, 1, 1, 1]).over).toEqual(['cpu']);
  });

  it('stays over until the load is a gap below the limit', () => {
    const over = note([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    const near = noteSample(over, { cpu: 0.79, memoryFree: 0.5 }, LIMITS, 1_000_000);
    expect(near.over).toEqual(['cpu']);
    expect(noteSample(near, { cpu: 0.7, memoryFree: 0.5 }, LIMITS, 2_000_000).over).toEqual([]);
  });

  it('is over for too little free memory, and never with the limits off or without samples', () => {
    const low = { cpu: null, memoryFree: 0.05 };
    expect(noteSample(newHostLoad(0), low, LIMITS, 2500).over).toEqual(['memory_free']);
    expect(noteSample(newHostLoad(0), low, { cpu: null, memoryFree: null }, 2500).over).toEqual([]);
    expect(noteSample(newHostLoad(0), { cpu: null, memoryFree: null }, LIMITS, 2500).over).toEqual([]);
  });
});
