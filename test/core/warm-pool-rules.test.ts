/** The rules of the warm pool: how many workers to start, which to retire, how a crash loop backs off. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import { noteCrash } from '../../src/core/workers/crash-backoff.ts';
import type { Pool, WarmWorker } from '../../src/core/workers/warm-pool-rules.ts';
import { decidePool, EMPTY_POOL, findReady } from '../../src/core/workers/warm-pool-rules.ts';
import { BACKOFF } from '../../src/lib/limits/session-limits.ts';
import { WARM } from '../../src/lib/limits/worker-limits.ts';
import { profile } from './support.ts';

const PROFILE = profile({ warm: 3, memoryBytes: 1000 });

function one(id: string, more: Partial<WarmWorker> = {}): WarmWorker {
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

const poolOf = (...workers: WarmWorker[]): Pool => ({ ...EMPTY_POOL, workers });
const retired = (pool: Pool, wanted = PROFILE, nowMs = 1000) =>
  decidePool(pool, wanted, nowMs).retire.map(({ id }) => id);

describe('a pool', () => {
  it('is filled, a few workers at a time', () => {
    expect(decidePool(EMPTY_POOL, PROFILE, 0).start).toBe(3);
    expect(decidePool(EMPTY_POOL, profile({ warm: 100 }), 0).start).toBe(WARM.startsAtOnce);
    expect(decidePool(poolOf(one('a', { state: 'starting' }), one('b')), PROFILE, 0).start).toBe(1);
  });

  it('does not count reserved workers', () => {
    expect(decidePool(poolOf(one('a', { state: 'reserved' }), one('b')), PROFILE, 0)).toMatchObject({
      start: 2,
      retire: [],
    });
  });

  it('retires workers that are too old, too big, late, of another profile, or too many', () => {
    expect(retired(poolOf(one('a')), PROFILE, WARM.maxAgeMs)).toEqual(['a']);
    expect(retired(poolOf(one('a', { memoryBytes: 501 })))).toEqual(['a']);
    expect(retired(poolOf(one('a', { memoryBytes: 500 })))).toEqual([]);
    expect(retired(poolOf(one('a', { state: 'starting' })), PROFILE, 30_000)).toEqual(['a']);
    expect(retired(poolOf(one('a')), profile({ warm: 3, version: '2', memoryBytes: 1000 }))).toEqual(['a']);
    expect(retired(poolOf(one('a'), one('b'), one('c'), one('d')))).toEqual(['d']);
    expect(retired(poolOf(one('a', { state: 'starting' }), one('b'), one('c'), one('d')))).toEqual(['a']);
  });

  it('is emptied when no new session is taken', () => {
    expect(decidePool(poolOf(one('a'), one('b', { state: 'reserved' })), null, 0)).toMatchObject({
      start: 0,
      retire: [{ id: 'a' }],
    });
  });

  it('hands out only ready workers of the same profile', () => {
    const pool = poolOf(one('a', { state: 'starting' }), one('b', { state: 'reserved' }), one('c'));
    expect(findReady(pool, PROFILE)?.id).toBe('c');
    expect(findReady(pool, profile({ warm: 3, version: '2' }))).toBeNull();
  });

  it('keeps a worker whose profile an older version wrote without a key of today', () => {
    const { onRefused: _refused, ...older } = PROFILE;
    const { killMs: _kill, ...olderBounds } = older.ladder;
    const pool = poolOf({ ...one('a'), profile: { ...older, ladder: olderBounds } as typeof PROFILE });
    expect(retired(pool)).toEqual([]);
    expect(findReady(pool, PROFILE)?.id).toBe('a');
  });

  it('retires a worker when a variable, a bound or a limit of its profile is new or changed', () => {
    const pool = poolOf(one('a'));
    expect(retired(pool, { ...PROFILE, env: { NEW: '1' } })).toEqual(['a']);
    expect(retired(pool, { ...PROFILE, ladder: { ...PROFILE.ladder, termMs: 1 } })).toEqual(['a']);
    expect(retired(pool, { ...PROFILE, limits: { ...PROFILE.limits, errorLimit: 9 } })).toEqual(['a']);
  });
});

describe('a crash loop', () => {
  it('backs off, and counts from one again after a quiet minute', () => {
    const first = noteCrash(EMPTY_POOL, 'died', 0);
    expect(first).toMatchObject({ crashes: 1, lastCrash: 'died', notBeforeMs: BACKOFF.firstMs });
    expect(decidePool(first, PROFILE, 100)).toMatchObject({ start: 0, nextMs: BACKOFF.firstMs });
    expect(decidePool(first, PROFILE, BACKOFF.firstMs).start).toBe(3);
    const second = noteCrash(first, 'died', 1000);
    expect(second).toMatchObject({ crashes: 2, notBeforeMs: 1000 + BACKOFF.firstMs * BACKOFF.factor });
    expect(noteCrash(second, 'died', 100_000).crashes).toBe(1);
  });

  it('never waits longer than its bound', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 50 }), (gaps) => {
        let pool = EMPTY_POOL;
        let nowMs = 0;
        for (const gap of gaps) {
          nowMs += gap;
          pool = noteCrash(pool, 'died', nowMs);
          expect(pool.notBeforeMs - nowMs).toBeLessThanOrEqual(BACKOFF.maxMs);
        }
      }),
    );
  });
});
