/** Admission: tables for the rules, and properties for what must never happen. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Admission, Answer } from '../../src/core/admission/admission.ts';
import {
  expired,
  newAdmission,
  nextExpiryMs,
  quotaHolders,
  request,
  update,
  usedOf,
  withdraw,
} from '../../src/core/admission/admission.ts';
import type { Allocation } from '../../src/core/admission/allocation.ts';
import { askBudget, NEW_BUDGET } from '../../src/core/admission/mass-end-breaker.ts';
import type { AdmissionLimits } from '../../src/core/admission/quotas.ts';
import type { SessionId } from '../../src/core/ids.ts';
import { claimKey, sessionId } from '../../src/core/ids.ts';

const LIMITS: AdmissionLimits = {
  sessions: 2,
  perUser: 1,
  perAgent: { small: 1 },
  startRatePerSecond: 1000,
  queue: 10,
  queueTimeoutMs: 1000,
};
const claim = (room: string) => claimKey({ project: 'default', name: room }, null);

interface Ask {
  readonly user?: string;
  readonly agent?: string;
  readonly nowMs?: number;
  readonly mayQueue?: boolean;
}

/** A front desk in small: asks are `[id, room, user?, agent?]`. */
class Desk {
  state: Admission;
  readonly granted: string[] = [];

  constructor(limits: Partial<AdmissionLimits> = {}) {
    this.state = newAdmission({ ...LIMITS, ...limits });
  }

  ask(id: string, room: string, { user, agent = 'default', nowMs = 0, mayQueue = true }: Ask = {}): Answer {
    const quotas = ['host', `agent:${agent}`, ...(user === undefined ? [] : [`user:${user}`])];
    const { state, answer } = request(
      this.state,
      { sessionId: sessionId(id), claim: claim(room), quotas, mayQueue },
      nowMs,
    );
    this.state = state;
    if (answer.kind === 'granted') this.granted.push(id);
    return answer;
  }

  hold(id: string, change: Partial<Allocation> | null, nowMs = 0): string[] {
    const known = this.state.holders.get(sessionId(id));
    const { state, grants } = update(
      this.state,
      sessionId(id),
      change === null || known === null ? null : { ...known, ...change },
      nowMs,
    );
    this.state = state;
    this.granted.push(...grants.map((one) => one.sessionId));
    return grants.map((one) => one.sessionId);
  }
}

describe('a claim', () => {
  it('is held by one session, and the refusal names its holder', () => {
    const desk = new Desk();
    desk.ask('a', 'r');
    expect(desk.ask('b', 'r')).toEqual({ kind: 'taken', holder: 'a' });
  });

  it('of a closing session is waited for by one session, and blocks no other room', () => {
    const desk = new Desk();
    desk.ask('a', 'r');
    desk.hold('a', { closing: true });
    expect(desk.ask('b', 'r')).toEqual({ kind: 'queued', position: 1, wants: 'a' });
    expect(desk.ask('c', 'r')).toEqual({ kind: 'taken', holder: 'b' });
    expect(desk.ask('d', 'other').kind).toBe('granted');
    desk.hold('a', { quotas: [] });
    expect(desk.hold('a', null)).toEqual(['b']);
  });

  it('of a closing session is waited for even without a queue', () => {
    const desk = new Desk({ queue: 0, sessions: 1 });
    desk.ask('a', 'r');
    desk.hold('a', { closing: true });
    expect(desk.ask('b', 'r').kind).toBe('queued');
  });
});

describe('quotas', () => {
  it('are taken all or none, and a refusal names the full one', () => {
    const desk = new Desk({ queue: 0 });
    desk.ask('a', 'r1', { user: 'ann' });
    expect(desk.ask('b', 'r2', { user: 'ann' })).toMatchObject({
      kind: 'full',
      quota: 'user:ann',
      limit: 1,
      used: 1,
      holders: ['a'],
    });
    expect(usedOf(desk.state, 'host')).toBe(1);
    desk.ask('c', 'r3', { agent: 'small' });
    expect(desk.ask('d', 'r4', { agent: 'small' })).toMatchObject({ kind: 'full', quota: 'host' });
  });

  it('are free when the tree is gone, and the claim after the teardown', () => {
    const desk = new Desk({ sessions: 1 });
    desk.ask('a', 'r');
    desk.ask('b', 'other');
    expect(desk.hold('a', { closing: true })).toEqual([]);
    expect(desk.hold('a', { quotas: [] })).toEqual(['b']);
    expect(desk.ask('c', 'r').kind).toBe('queued');
  });
});

describe('the queue', () => {
  it('serves sessions in their order, and no session waits for a quota that it does not need', () => {
    const desk = new Desk({ sessions: 3 });
    desk.ask('a', 'r1', { user: 'ann' });
    expect(desk.ask('b', 'r2', { user: 'ann' }).kind).toBe('queued');
    expect(desk.ask('c', 'r3').kind).toBe('granted');
    expect(desk.ask('d', 'r4').kind).toBe('granted');
    expect(desk.ask('e', 'r5').kind).toBe('queued');
    expect(desk.hold('c', null)).toEqual(['e']);
    expect(desk.hold('a', null)).toEqual(['b']);
  });

  it('lets no new session pass a waiting one that needs the same quota', () => {
    const desk = new Desk({ sessions: 1 });
    desk.ask('a', 'r1');
    desk.ask('b', 'r2');
    desk.ask('c', 'r3');
    expect(desk.hold('a', null)).toEqual(['b']);
    expect(desk.ask('d', 'r4').kind).toBe('queued');
    expect(desk.hold('b', null)).toEqual(['c']);
  });

  it('expires a session after its time, and names the full quota', () => {
    const desk = new Desk({ sessions: 1 });
    desk.ask('a', 'r1');
    desk.ask('b', 'r2', { nowMs: 100 });
    expect(expired(desk.state, 1099)).toEqual([]);
    expect(expired(desk.state, 1100)).toEqual([{ sessionId: 'b', detail: 'limit host: 1 of 1 in use' }]);
    desk.state = withdraw(desk.state, sessionId('b'), 1100).state;
    expect(desk.state.queue).toEqual([]);
  });
});

describe('a wait for a claim', () => {
  const closing = (more: Partial<AdmissionLimits> = {}) => {
    const desk = new Desk({ sessions: 5, ...more });
    desk.ask('a', 'r');
    desk.hold('a', { closing: true });
    desk.ask('b', 'r', { mayQueue: false });
    return desk;
  };

  it('lasts as long as the teardown', () => {
    const desk = closing();
    expect(nextExpiryMs(desk.state)).toBeNull();
    expect(expired(desk.state, 900_000)).toEqual([]);
    expect(desk.hold('a', null, 900_000)).toEqual(['b']);
  });

  it('of an unkillable worker expires after the time of the queue', () => {
    const desk = closing();
    desk.hold('a', { unkillable: true }, 5000);
    expect(nextExpiryMs(desk.state)).toBe(6000);
    expect(expired(desk.state, 6000)).toMatchObject([{ sessionId: 'b' }]);
  });

  it('ends at once if no slot is free then and the call may not queue', () => {
    const desk = closing({ sessions: 1 });
    desk.hold('a', { quotas: [] }, 10);
    desk.ask('c', 'other', { nowMs: 20 });
    expect(desk.hold('a', null, 30)).toEqual([]);
    expect(expired(desk.state, 30)).toEqual([{ sessionId: 'b', detail: 'limit host: 1 of 1 in use' }]);
  });

  it('goes on as a wait for a slot if the call may queue', () => {
    const desk = new Desk({ sessions: 1 });
    desk.ask('a', 'r');
    desk.hold('a', { closing: true, quotas: [] });
    desk.ask('b', 'r');
    desk.ask('c', 'other');
    desk.hold('a', null, 30_000);
    expect(nextExpiryMs(desk.state)).toBe(31_000);
    expect(desk.hold('c', null, 30_500)).toEqual(['b']);
  });
});

it('the start rate delays starts and refuses none', () => {
  const desk = new Desk({ sessions: 100, startRatePerSecond: 10 });
  const starts = Array.from({ length: 25 }, (_, index) => desk.ask(`s${index}`, `r${index}`)).map((answer) =>
    answer.kind === 'granted' ? answer.startAtMs : -1,
  );
  expect(starts.slice(0, 10)).toEqual(Array(10).fill(0));
  expect(starts.slice(10)).toEqual(Array.from({ length: 15 }, (_, index) => (index + 1) * 100));
});

describe('after any requests in any order', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('ask' as const),
      room: fc.integer({ min: 0, max: 5 }),
      user: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
      agent: fc.constantFrom('default', 'small'),
    }),
    fc.record({ do: fc.constant('close' as const), nth: fc.nat(20) }),
    fc.record({ do: fc.constant('free' as const), nth: fc.nat(20) }),
    fc.record({ do: fc.constant('end' as const), nth: fc.nat(20) }),
  );

  it('no limit is exceeded, no claim is held twice, and every session is served in the end', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const desk = new Desk({ queueTimeoutMs: 1e9 });
        let asked = 0;
        for (const one of steps) {
          if (one.do === 'ask')
            desk.ask(`s${asked++}`, `r${one.room}`, {
              agent: one.agent,
              ...(one.user === undefined ? {} : { user: `u${one.user}` }),
            });
          else change(desk, one.do, one.nth);
          holds(desk);
        }
        for (let rounds = 0; rounds < 200 && [...desk.state.holders].length > 0; rounds++)
          desk.hold([...desk.state.holders][0]?.sessionId ?? '', null);
        expect(desk.state.queue).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  function change(desk: Desk, what: 'close' | 'free' | 'end', nth: number): void {
    const ids = [...desk.state.holders].map((one) => one.sessionId);
    const id = ids[nth % Math.max(1, ids.length)];
    if (id === undefined) return;
    if (what === 'end') desk.hold(id, null);
    else desk.hold(id, what === 'close' ? { closing: true } : { closing: true, quotas: [] });
  }

  function holds({ state }: Desk): void {
    expect(usedOf(state, 'host')).toBeLessThanOrEqual(2);
    expect(usedOf(state, 'agent:small')).toBeLessThanOrEqual(1);
    for (let user = 0; user < 3; user++)
      expect(quotaHolders(state, `user:u${user}`).length).toBeLessThanOrEqual(1);
    const claims = [...state.holders].map((one) => one.claim);
    expect(new Set(claims).size).toBe(claims.length);
  }
});

describe('the mass-end budget', () => {
  const live = (count: number, due: number) => {
    const holders = new Map<SessionId, Allocation>();
    for (let index = 0; index < count; index++) {
      const id = sessionId(`s${index}`);
      holders.set(id, {
        sessionId: id,
        claim: claim(`r${index}`),
        closing: false,
        unkillable: false,
        quotas: ['host'],
        live: true,
        inferredDueMs: index < due ? 1000 : null,
      });
    }
    return holders;
  };
  const askAll = (count: number, again = false, holders = live(100, count)) => {
    let budget = NEW_BUDGET;
    return Array.from({ length: count }, (_, index) => {
      const answer = askBudget(budget, { sessionId: sessionId(`s${index}`), again, holders, nowMs: 1000 });
      budget = answer.budget;
      return answer.granted;
    });
  };

  it('holds sixty of a hundred endings at once, and grants three', () => {
    expect(askAll(60)).toEqual(Array(60).fill(false));
    expect(askAll(3)).toEqual([true, true, true]);
  });

  it('grants endings that a new poll confirmed at the allowed rate', () => {
    expect(askAll(60, true).filter(Boolean)).toHaveLength(20);
  });

  it('never holds five endings, however few sessions are live', () => {
    expect(askAll(5, false, live(5, 5))).toEqual(Array(5).fill(true));
    expect(askAll(6, false, live(6, 6))).toEqual(Array(6).fill(false));
  });
});
