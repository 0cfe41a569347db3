/** New limits while sessions run: allocations stay, and the queue is served by the new limits. */
import { describe, expect, it } from 'vitest';
import { newAdmission, relimit, request, usedOf } from '../../src/core/admission/admission.ts';
import { claimKey, sessionId } from '../../src/core/ids.ts';

const LIMITS = {
  sessions: 1,
  perUser: null,
  perAgent: {},
  startRatePerSecond: 1000,
  queue: 10,
  queueTimeoutMs: 30_000,
};
const asked = (name: string) => ({
  sessionId: sessionId(name),
  claim: claimKey({ project: 'default', name }, null),
  quotas: ['host', 'agent:default'],
});

describe('new limits', () => {
  it('admit waiting sessions in their order, as many as fit', () => {
    let state = newAdmission(LIMITS);
    for (const name of ['a', 'b', 'c', 'd']) state = request(state, asked(name), 0).state;
    const { state: next, grants } = relimit(state, { ...LIMITS, sessions: 3 }, 5);
    expect(grants.map((one) => one.sessionId)).toEqual(['b', 'c']);
    expect(next.queue.map((one) => one.sessionId)).toEqual(['d']);
  });

  it('take no slot from a session that holds one', () => {
    let state = newAdmission({ ...LIMITS, sessions: 3 });
    for (const name of ['a', 'b', 'c']) state = request(state, asked(name), 0).state;
    const { state: next, grants } = relimit(state, LIMITS, 5);
    expect(grants).toEqual([]);
    expect(usedOf(next, 'host')).toBe(3);
    expect(request(next, asked('d'), 6).answer.kind).toBe('queued');
  });
});
