/** Warm workers of an agent with zygotes: how long the pool waits for a fork, and how a new zygote renews what stands ready. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import { noteCrash } from '../../src/core/workers/crash-backoff.ts';
import type { Pool, WarmWorker } from '../../src/core/workers/warm-pool-rules.ts';
import { decidePool, EMPTY_POOL, findReady } from '../../src/core/workers/warm-pool-rules.ts';
import type { ForkSource, Zygote, ZygotePool } from '../../src/core/workers/zygote-rules.ts';
import { forkSource, NO_SOURCE, NO_ZYGOTES } from '../../src/core/workers/zygote-rules.ts';
import { BACKOFF } from '../../src/lib/limits/session-limits.ts';
import { WARM, ZYGOTE } from '../../src/lib/limits/worker-limits.ts';
import { profile } from './support.ts';

const PROFILE = profile({ protocol: 'livekit', prefork: 'auto', warm: 2 });
const [A, B] = [workerId('zygote-a.1'), workerId('zygote-b.1')];
const START_MS = PROFILE.limits.startTimeoutMs;

function warm(id: string, zygote: WarmWorker['zygote'], more: Partial<WarmWorker> = {}): WarmWorker {
  const base: WarmWorker = {
    id: workerId(id),
    profile: PROFILE,
    state: 'ready',
    sinceMs: 0,
    readyByMs: START_MS,
    memoryBytes: null,
  };
  return { ...base, ...(zygote !== undefined && { zygote }), ...more };
}

const poolOf = (...workers: WarmWorker[]): Pool => ({ ...EMPTY_POOL, workers });
const serves = (id: ForkSource['serving'], ...starting: ForkSource['starting']): ForkSource => ({
  ...NO_SOURCE,
  serving: id,
  starting,
});
const decided = (pool: Pool, source: ForkSource, nowMs = 1000) => {
  const { start, retire, nextMs } = decidePool(pool, PROFILE, nowMs, source);
  return { start, retire: retire.map(({ id }) => id), nextMs };
};
const starting = { state: 'starting' } as const;

describe('a pool whose zygote is starting', () => {
  const awaited = { ...NO_SOURCE, starting: [A], awaitedMs: 9000 };

  it('starts no worker until the zygote is ready, or until the bound', () => {
    expect(decided(EMPTY_POOL, awaited)).toEqual({ start: 0, retire: [], nextMs: 9000 });
    expect(decided(EMPTY_POOL, serves(A))).toMatchObject({ start: 2 });
    expect(decided(EMPTY_POOL, awaited, 9000)).toMatchObject({ start: 2 });
  });

  it('keeps the worker that it has', () => {
    expect(decided(poolOf(warm('a', undefined)), awaited)).toMatchObject({ start: 0, retire: [] });
  });

  it('waits for the longer one of the zygote and the wait after a crash', () => {
    const crashed = noteCrash(EMPTY_POOL, 'died', 9500);
    expect(decided(crashed, { ...awaited, awaitedMs: 9500 }, 9500)).toMatchObject({
      start: 0,
      nextMs: 9500 + BACKOFF.firstMs,
    });
  });
});

describe('a pool with a new zygote', () => {
  it.each<[string, Pool, ForkSource, { start: number; retire: string[] }]>([
    [
      'forks new workers for those of another zygote, which serve meanwhile',
      poolOf(warm('a1', A), warm('a2', A)),
      serves(B),
      { start: 2, retire: [] },
    ],
    [
      'forks new workers for those that started cold',
      poolOf(warm('c1', undefined), warm('c2', undefined)),
      serves(B),
      { start: 2, retire: [] },
    ],
    [
      'retires no old worker for a fork that is not ready',
      poolOf(warm('a1', A), warm('a2', A), warm('b1', B, starting), warm('b2', B, starting)),
      serves(B),
      { start: 0, retire: [] },
    ],
    [
      'retires one old worker for each fork that is ready',
      poolOf(warm('a1', A), warm('a2', A), warm('b1', B), warm('b2', B, starting)),
      serves(B),
      { start: 0, retire: ['a2'] },
    ],
    [
      'retires first the old worker that is not ready',
      poolOf(warm('a1', A, starting), warm('a2', A), warm('b1', B)),
      serves(B),
      { start: 1, retire: ['a1'] },
    ],
    [
      'ends with the forks of the present zygote alone',
      poolOf(warm('a1', A), warm('b1', B), warm('b2', B)),
      serves(B),
      { start: 0, retire: ['a1'] },
    ],
    [
      'leaves reserved workers to their sessions',
      poolOf(warm('a1', A, { state: 'reserved' }), warm('b1', B), warm('b2', B)),
      serves(B),
      { start: 0, retire: [] },
    ],
    [
      'keeps the forks of a zygote that connects again',
      poolOf(warm('b1', B), warm('b2', B)),
      serves(A, B),
      { start: 0, retire: [] },
    ],
    [
      'keeps old workers while no zygote serves',
      poolOf(warm('a1', A), warm('c1', undefined)),
      NO_SOURCE,
      { start: 0, retire: [] },
    ],
  ])('%s', (_what, pool, source, expected) => {
    expect(decided(pool, source)).toMatchObject(expected);
  });

  it('keeps the old workers while forks fail', () => {
    const failing = noteCrash(poolOf(warm('a1', A), warm('a2', A)), 'died', 1000);
    expect(decided(failing, serves(B))).toEqual({ start: 0, retire: [], nextMs: 1000 + BACKOFF.firstMs });
  });

  it('never has more workers than wanted and those that start at once', () => {
    const many = profile({ ...PROFILE, warm: 20 });
    const old = Array.from({ length: 20 }, (_one, index) => warm(`a${index}`, A, { profile: many }));
    expect(decidePool(poolOf(...old), many, 1000, serves(B))).toMatchObject({
      start: WARM.startsAtOnce,
      retire: [],
    });
  });

  it('gives a call a fork of the present zygote, else any ready worker', () => {
    expect(findReady(poolOf(warm('a1', A), warm('b1', B)), PROFILE, serves(B))?.id).toBe('b1');
    expect(findReady(poolOf(warm('a1', A), warm('b1', B, starting)), PROFILE, serves(B))?.id).toBe('a1');
  });
});

describe('the zygotes of a profile', () => {
  const zygote = (id: Zygote['id'], more: Partial<Zygote> = {}): Zygote => ({
    id,
    profile: PROFILE,
    state: 'starting',
    sinceMs: 500,
    readyByMs: 500 + START_MS,
    memoryBytes: null,
    ...more,
  });
  const of = (...zygotes: Zygote[]): ZygotePool => ({ ...NO_ZYGOTES, zygotes });
  const untilMs = 500 + ZYGOTE.awaitedMs;

  it('are awaited during their import, for a bounded time', () => {
    expect(forkSource(of(zygote(A)), PROFILE)).toEqual({ serving: null, starting: [A], awaitedMs: untilMs });
    const short = profile({ ...PROFILE, limits: { ...PROFILE.limits, startTimeoutMs: 2000 } });
    expect(forkSource(of(zygote(A, { profile: short, readyByMs: 2500 })), short).awaitedMs).toBe(2500);
  });

  it.each<[string, ZygotePool]>([
    ['there is none', of()],
    ['it is of another profile', of(zygote(A, { profile: profile({ ...PROFILE, version: '2' }) }))],
    ['the agent cannot be forked', { ...of(zygote(A)), unfit: { profile: PROFILE, why: 'a thread' } }],
    ['an older one serves', of(zygote(A, { state: 'ready' }), zygote(B))],
  ])('are not awaited where %s', (_where, pool) => {
    expect(forkSource(pool, PROFILE).awaitedMs).toBe(NO_SOURCE.awaitedMs);
  });

  it('do not matter for an agent that is not forked', () => {
    expect(forkSource(of(zygote(A)), profile({ ...PROFILE, prefork: 'off' }))).toEqual(NO_SOURCE);
  });
});
