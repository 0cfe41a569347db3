/** The rules of zygotes: when one starts, is renewed and ends, from which one a worker is forked, and why a worker starts cold. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Profile } from '../../src/core/model/profile.ts';
import { noteCrash } from '../../src/core/workers/crash-backoff.ts';
import type { Zygote, ZygotePool } from '../../src/core/workers/zygote-rules.ts';
import {
  decideZygotes,
  isForked,
  LATE,
  NO_ZYGOTES,
  TOO_BIG,
  whyCold,
  whyOld,
  zygoteFor,
} from '../../src/core/workers/zygote-rules.ts';
import { BACKOFF } from '../../src/lib/limits/session-limits.ts';
import { ZYGOTE } from '../../src/lib/limits/worker-limits.ts';
import { profile } from './support.ts';

const PROFILE = profile({ protocol: 'livekit', prefork: 'auto' });
const NEXT = { ...PROFILE, version: '2' };
const AGE_MS = ZYGOTE.maxAgeMs;

function one(id: string, more: Partial<Zygote> = {}): Zygote {
  return {
    id: workerId(id),
    profile: PROFILE,
    state: 'ready',
    sinceMs: 0,
    readyByMs: 30_000,
    memoryBytes: null,
    ...more,
  };
}

const poolOf = (...zygotes: Zygote[]): ZygotePool => ({ ...NO_ZYGOTES, zygotes });
const decided = (pool: ZygotePool, nowMs = 1000, wanted: Profile | null = PROFILE) => {
  const { start, retire, nextMs } = decideZygotes(pool, wanted, nowMs);
  return { start, retire: retire.map(({ id, why }) => `${id}: ${why}`), nextMs };
};

describe('zygotes of an agent', () => {
  it.each<[string, ZygotePool, number, Profile | null, ReturnType<typeof decided>]>([
    ['the first one starts at once', poolOf(), 1000, PROFILE, { start: true, retire: [], nextMs: null }],
    ['none starts when none is wanted', poolOf(), 1000, null, { start: false, retire: [], nextMs: null }],
    [
      'none starts while one starts',
      poolOf(one('a', { state: 'starting' })),
      1000,
      PROFILE,
      { start: false, retire: [], nextMs: 30_000 },
    ],
    [
      'one that is ready serves until its age',
      poolOf(one('a')),
      AGE_MS - 1,
      PROFILE,
      { start: false, retire: [], nextMs: AGE_MS },
    ],
    [
      'the next one starts at that age, and the old one serves meanwhile',
      poolOf(one('a')),
      AGE_MS,
      PROFILE,
      { start: true, retire: [], nextMs: null },
    ],
    [
      'the old one serves while the next one starts',
      poolOf(one('a'), one('b', { state: 'starting', sinceMs: AGE_MS, readyByMs: AGE_MS + 30_000 })),
      AGE_MS + 1000,
      PROFILE,
      { start: false, retire: [], nextMs: AGE_MS + 30_000 },
    ],
    [
      'the old one ends when the next one is ready',
      poolOf(one('a'), one('b', { sinceMs: AGE_MS })),
      AGE_MS + 1000,
      PROFILE,
      { start: false, retire: ['a: a newer one has taken its place'], nextMs: 2 * AGE_MS },
    ],
    [
      'of two with the same age only the later one stays',
      poolOf(one('a'), one('b')),
      1000,
      PROFILE,
      { start: false, retire: ['a: a newer one has taken its place'], nextMs: AGE_MS },
    ],
    [
      'one that is late ends, and the old one serves',
      poolOf(one('a'), one('b', { state: 'starting', sinceMs: 10 })),
      30_000,
      PROFILE,
      { start: false, retire: [`b: ${LATE}`], nextMs: AGE_MS },
    ],
    [
      'one that lost its connection is not replaced while it may come back',
      poolOf(one('a', { state: 'starting', readyByMs: 60_000 })),
      59_999,
      PROFILE,
      { start: false, retire: [], nextMs: 60_000 },
    ],
    [
      'one that has grown too big ends',
      poolOf(one('a', { memoryBytes: ZYGOTE.memoryBytes + 1 })),
      1000,
      PROFILE,
      { start: true, retire: [`a: ${TOO_BIG}`], nextMs: null },
    ],
    [
      'one of the size of the bound serves',
      poolOf(one('a', { memoryBytes: ZYGOTE.memoryBytes })),
      1000,
      PROFILE,
      { start: false, retire: [], nextMs: AGE_MS },
    ],
    [
      'one of a changed profile ends, also while it starts, and the next one begins',
      poolOf(one('a'), one('b', { state: 'starting' })),
      1000,
      NEXT,
      {
        start: true,
        retire: ['a: its profile has changed', 'b: its profile has changed'],
        nextMs: null,
      },
    ],
    [
      'all end when none is wanted',
      poolOf(one('a'), one('b', { state: 'starting' })),
      1000,
      null,
      { start: false, retire: ['a: none is wanted', 'b: none is wanted'], nextMs: null },
    ],
  ])('%s', (_what, pool, nowMs, wanted, expected) => {
    expect(decided(pool, nowMs, wanted)).toEqual(expected);
  });

  it('a limit of the profile changes nothing, because a zygote has none', () => {
    const other = { ...PROFILE, memoryBytes: 5, warm: 9, limits: { ...PROFILE.limits, errorLimit: 9 } };
    expect(decided(poolOf(one('a')), 1000, other).retire).toEqual([]);
    expect(zygoteFor(poolOf(one('a')), other)?.id).toBe('a');
  });

  it('the age is a key of the profile', () => {
    const short = { ...PROFILE, preforkMaxAgeMs: 60_000 };
    expect(decided(poolOf(one('a')), 59_999, short)).toMatchObject({ start: false, nextMs: 60_000 });
    expect(decided(poolOf(one('a')), 60_000, short).start).toBe(true);
  });

  it('a renewal on request starts the next one once, and also after one that is starting', () => {
    const asked = (...zygotes: Zygote[]) => ({ ...poolOf(...zygotes), renewMs: 500 });
    expect(decided(asked(one('a')))).toMatchObject({ start: true, retire: [] });
    expect(decided(asked(one('a', { state: 'starting' }))).start).toBe(false);
    const renewed = asked(one('a'), one('b', { sinceMs: 600 }));
    expect(decided(renewed)).toMatchObject({
      start: false,
      retire: ['a: a newer one has taken its place'],
    });
  });
});

describe('an agent that cannot be forked', () => {
  const unfit = { profile: PROFILE, why: 'a thread is left' };

  it('gets no zygote until its profile changes', () => {
    const pool = { ...poolOf(), unfit };
    expect(decided(pool, 10 * AGE_MS)).toEqual({ start: false, retire: [], nextMs: null });
    expect(whyCold(pool, PROFILE)).toBe('a thread is left');
    expect(decided(pool, 1000, NEXT).start).toBe(true);
    expect(whyCold(pool, NEXT)).toBe('its zygote is not ready yet');
  });

  it('keeps the zygote that serves, when only the newer one was unfit', () => {
    const pool = { ...poolOf(one('a')), unfit };
    expect(decided(pool, 2 * AGE_MS)).toEqual({ start: false, retire: [], nextMs: null });
    expect(zygoteFor(pool, PROFILE)?.id).toBe('a');
    expect(whyCold(pool, PROFILE)).toBeNull();
  });
});

describe('a worker', () => {
  it('is forked from the newest zygote of its profile that is ready', () => {
    const pool = poolOf(one('a'), one('b', { sinceMs: 5 }), one('c', { state: 'starting' }));
    expect(zygoteFor(pool, PROFILE)?.id).toBe('b');
    expect(zygoteFor(pool, NEXT)).toBeNull();
    expect(whyCold(pool, PROFILE)).toBeNull();
  });

  it('starts cold for a named reason', () => {
    expect(whyCold(poolOf(), PROFILE)).toBe('its zygote is not ready yet');
    expect(whyCold(noteCrash(poolOf(), 'it exited with 1', 0), PROFILE)).toBe(
      'its zygote failed: it exited with 1',
    );
    expect(whyCold(noteCrash(poolOf(one('a')), 'it exited with 1', 0), PROFILE)).toBeNull();
  });

  it('is forked from an old zygote for a named reason, until a new one is ready', () => {
    const due = { ...poolOf(one('a')), renewMs: 10 };
    expect(whyOld(due, PROFILE)).toBeNull();
    const failed = noteCrash(due, 'it exited with 1', 20);
    expect(whyOld(failed, PROFILE)).toBe('it exited with 1');
    expect(whyOld({ ...failed, zygotes: [one('b', { sinceMs: 30 })] }, PROFILE)).toBeNull();
    expect(whyOld({ ...due, unfit: { profile: PROFILE, why: 'a thread' } }, PROFILE)).toBe('a thread');
    // Another one died before it was time for a renewal.
    expect(whyOld(noteCrash(poolOf(one('a')), 'it exited with 1', 20), PROFILE)).toBeNull();
    expect(whyOld(noteCrash(poolOf(), 'it exited with 1', 20), PROFILE)).toBeNull();
  });

  it('has no zygote without prefork, and none outside of LiveKit Agents', () => {
    for (const other of [{ ...PROFILE, prefork: 'off' as const }, profile({ prefork: 'auto' }), profile()]) {
      expect(isForked(other)).toBe(false);
      expect(whyCold(poolOf(), other)).toBeNull();
    }
    expect(isForked(PROFILE)).toBe(true);
    expect(isForked({ ...PROFILE, command: ['npm', 'run', 'python', 'agent.py'] })).toBe(true);
  });

  it('of a JavaScript agent is not forked, and has a zygote to share its inference process', () => {
    const ofNode = { ...PROFILE, command: ['npx', 'tsx', 'agent.ts', 'start'] as const };
    expect(isForked(ofNode)).toBe(false);
    expect(whyCold(poolOf(), ofNode)).toBe('its zygote is not ready yet');
  });
});

describe('zygotes that crash', () => {
  it('back off, and the old one serves meanwhile', () => {
    const first = noteCrash(poolOf(one('a')), 'died', AGE_MS);
    expect(decided(first, AGE_MS)).toEqual({ start: false, retire: [], nextMs: AGE_MS + BACKOFF.firstMs });
    expect(decided(first, AGE_MS + BACKOFF.firstMs).start).toBe(true);
    const second = noteCrash(first, 'died', AGE_MS + 1000);
    expect(second.notBeforeMs).toBe(AGE_MS + 1000 + BACKOFF.firstMs * BACKOFF.factor);
  });
});

/** An event in the life of zygotes, on a virtual clock. */
type Step =
  | { readonly do: 'ready' | 'crash' | 'unfit' | 'drop' | 'big'; readonly which: number }
  | { readonly do: 'renew' | 'deploy' | 'pass' | 'close' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constantFrom('ready', 'ready', 'ready', 'crash', 'unfit', 'drop', 'big'),
    which: fc.nat(3),
  }),
  fc.record({ do: fc.constantFrom('renew', 'deploy', 'pass', 'pass', 'close') }),
);

/** Plays as the runtime does. */
class Played {
  pool: ZygotePool = NO_ZYGOTES;
  nowMs = 0;
  wanted: Profile | null = PROFILE;
  starts = 0;
  #versions = 0;

  happen(one: Step, gapMs: number): void {
    this.nowMs += gapMs;
    const found =
      'which' in one ? this.pool.zygotes[one.which % Math.max(1, this.pool.zygotes.length)] : undefined;
    if (one.do === 'renew') this.pool = { ...this.pool, unfit: null, renewMs: this.nowMs };
    if (one.do === 'deploy') this.wanted = { ...PROFILE, version: `${++this.#versions}` };
    if (one.do === 'close') this.wanted = this.wanted === null ? PROFILE : null;
    if (found !== undefined && one.do === 'ready') this.#change(found, { state: 'ready' });
    if (found !== undefined && one.do === 'drop')
      this.#change(found, { state: 'starting', readyByMs: this.nowMs + 30_000 });
    if (found !== undefined && one.do === 'big') this.#change(found, { memoryBytes: 2 * ZYGOTE.memoryBytes });
    if (found !== undefined && (one.do === 'crash' || one.do === 'unfit')) this.#drop(found);
    if (found !== undefined && one.do === 'crash') this.pool = noteCrash(this.pool, 'died', this.nowMs);
    if (found !== undefined && one.do === 'unfit')
      this.pool = { ...this.pool, unfit: { profile: found.profile, why: 'a thread' } };
    this.decide();
  }

  decide(): void {
    const { start, retire } = decideZygotes(this.pool, this.wanted, this.nowMs);
    for (const { id, why } of retire) {
      const gone = this.pool.zygotes.find((one) => one.id === id);
      if (gone !== undefined) this.#drop(gone);
      if (why === LATE || why === TOO_BIG) this.pool = noteCrash(this.pool, why, this.nowMs);
    }
    if (retire.length > 0) {
      this.decide();
      return;
    }
    if (!start || this.wanted === null) return;
    const { nowMs: sinceMs, wanted } = this;
    const begun = one(`z${++this.starts}.1`, {
      profile: wanted,
      state: 'starting',
      sinceMs,
      readyByMs: sinceMs + 30_000,
    });
    this.pool = { ...this.pool, zygotes: [...this.pool.zygotes, begun] };
  }

  #change({ id }: Zygote, change: Partial<Zygote>): void {
    const zygotes = this.pool.zygotes.map((each) => (each.id === id ? { ...each, ...change } : each));
    this.pool = { ...this.pool, zygotes };
  }

  #drop({ id }: Zygote): void {
    this.pool = { ...this.pool, zygotes: this.pool.zygotes.filter((each) => each.id !== id) };
  }
}

describe('whatever happens to zygotes', () => {
  const steps = fc.array(fc.tuple(step, fc.integer({ min: 0, max: 40_000 })), { maxLength: 40 });

  it('there are two at most, and only one of them is ready', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const played = new Played();
        played.decide();
        for (const [one, gapMs] of all) {
          played.happen(one, gapMs);
          const { zygotes } = played.pool;
          expect(zygotes.length).toBeLessThanOrEqual(2);
          expect(zygotes.filter(({ state }) => state === 'ready').length).toBeLessThanOrEqual(1);
          if (played.wanted === null) expect(zygotes).toEqual([]);
        }
      }),
    );
  });

  it('a decision that leaves nothing to do names the next one, unless none can come', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const played = new Played();
        played.decide();
        for (const [one, gapMs] of all) {
          played.happen(one, gapMs);
          const { pool, wanted, nowMs } = played;
          const { start, retire, nextMs } = decideZygotes(pool, wanted, nowMs);
          expect({ start, retire }).toEqual({ start: false, retire: [] });
          if (nextMs !== null) expect(nextMs).toBeGreaterThan(nowMs);
          else if (wanted !== null) expect(whyCold({ ...pool, zygotes: [] }, wanted)).toBe('a thread');
        }
      }),
    );
  });

  it('a worker that is not forked has a reason', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const played = new Played();
        for (const [one, gapMs] of all) {
          played.happen(one, gapMs);
          const from = zygoteFor(played.pool, PROFILE);
          expect(whyCold(played.pool, PROFILE) === null).toBe(from !== null);
        }
      }),
    );
  });
});
