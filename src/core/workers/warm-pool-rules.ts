/**
 * Warm workers of one agent: how many to start, and which to retire. Pure; the runtime starts and ends them.
 * The pool counts a worker that dies warm, and a crash loop backs off. An assigned worker belongs to its session and left the pool.
 */
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { WorkerId } from '../ids.ts';
import type { Profile } from '../model/profile.ts';
import type { Crashes } from './crash-backoff.ts';
import { NO_CRASHES } from './crash-backoff.ts';
import type { ForkSource } from './zygote-rules.ts';
import { NO_SOURCE } from './zygote-rules.ts';

/** Counts as a crash. */
export const LATE = 'it was not ready in time';

export interface WarmWorker {
  readonly id: WorkerId;
  /** The profile of its start. A changed profile in the config retires the worker. */
  readonly profile: Profile;
  /** `reserved`: for a session that has not started. */
  readonly state: 'starting' | 'ready' | 'reserved';
  /** A reserved worker has lost its connection, and has not connected again. */
  readonly isLost?: boolean;
  readonly sinceMs: number;
  /** The worker must be ready by then. */
  readonly readyByMs: number;
  readonly memoryBytes: number | null;
  /** The zygote that served at its start. Absent: none did, so it started cold. */
  readonly zygote?: WorkerId;
}

export interface Pool extends Crashes {
  readonly workers: readonly WarmWorker[];
}

export const EMPTY_POOL: Pool = { ...NO_CRASHES, workers: [] };

export interface PoolDecision {
  readonly start: number;
  readonly retire: readonly { readonly id: WorkerId; readonly why: string }[];
  /** When to decide again, if no event comes before; null: never. */
  readonly nextMs: number | null;
}

/**
 * `profile` null: the config no longer has the agent, or the supervisor takes no new sessions. A worker that no present zygote
 * forked is replaced by a fork. It serves until the fork is ready, so that a renewal leaves no time without ready workers.
 */
export function decidePool(
  pool: Pool,
  profile: Profile | null,
  nowMs: number,
  source: ForkSource = NO_SOURCE,
): PoolDecision {
  const free = pool.workers.filter((one) => one.state !== 'reserved');
  const unfit = free.flatMap((one) => {
    const why = unfitness(one, profile, nowMs);
    return why === null ? [] : [{ id: one.id, why }];
  });
  const isReady = (one: WarmWorker) => one.state === 'ready';
  // A worker that is ready stays before one that is not.
  const fit = free
    .filter((one) => !unfit.some(({ id }) => id === one.id))
    .sort((one, other) => Number(isReady(other)) - Number(isReady(one)));
  const wanted = profile?.warm ?? 0;
  const fresh = fit.filter((one) => !isOld(one, source));
  const old = fit.filter((one) => isOld(one, source));
  const kept = Math.max(0, wanted - fresh.slice(0, wanted).filter(isReady).length);
  const surplus = [
    ...fresh.slice(wanted).map(({ id }) => ({ id, why: 'there are more than are wanted' })),
    ...old.slice(kept).map(({ id }) => ({ id, why: 'a fork of the present zygote has taken its place' })),
  ];
  const starting = fresh.filter((one) => one.state === 'starting').length;
  const lacking = Math.max(0, wanted - fresh.length);
  const notBeforeMs = Math.max(pool.notBeforeMs, source.awaitedMs);
  const start = nowMs < notBeforeMs ? 0 : Math.min(lacking, Math.max(0, WARM.startsAtOnce - starting));
  const next = nextMs({ fit, notBeforeMs: lacking > 0 ? notBeforeMs : nowMs, nowMs });
  return { start, retire: [...unfit, ...surplus], nextMs: next };
}

/** A zygote serves, and it did not fork this worker. */
function isOld({ zygote }: WarmWorker, source: ForkSource): boolean {
  if (source.serving === null || zygote === source.serving) return false;
  return zygote === undefined || !source.starting.includes(zygote);
}

function unfitness(one: WarmWorker, profile: Profile | null, nowMs: number): string | null {
  if (profile === null) return 'none is wanted';
  if (!isStartedWith(one.profile, profile)) return 'its profile has changed';
  if (one.state === 'starting' && nowMs >= one.readyByMs) return LATE;
  if (nowMs - one.sinceMs >= WARM.maxAgeMs) return 'it is too old';
  const limitBytes = warmLimitBytes(profile);
  return limitBytes !== null && (one.memoryBytes ?? 0) > limitBytes ? 'it has grown too big' : null;
}

/** The size at which a warm worker is replaced; null: no limit. */
export function warmLimitBytes({ memoryBytes }: Profile): number | null {
  return memoryBytes === null ? null : memoryBytes * WARM.memoryShare;
}

function nextMs({
  fit,
  notBeforeMs,
  nowMs,
}: {
  fit: readonly WarmWorker[];
  notBeforeMs: number;
  nowMs: number;
}): number | null {
  const times = fit.flatMap((one) => [
    one.sinceMs + WARM.maxAgeMs,
    ...(one.state === 'starting' ? [one.readyByMs] : []),
  ]);
  if (notBeforeMs > nowMs) times.push(notBeforeMs);
  return times.length === 0 ? null : Math.min(...times);
}

/** The ready worker that has waited longest, first of those that the present zygote forked; null: none is ready. */
export function findReady(pool: Pool, profile: Profile, source: ForkSource = NO_SOURCE): WarmWorker | null {
  const ready = pool.workers.filter((one) => one.state === 'ready' && isStartedWith(one.profile, profile));
  return ready.find((one) => !isOld(one, source)) ?? ready[0] ?? null;
}

/**
 * Whether a worker with the profile of its start serves sessions of the present profile. A key counts only when the profile
 * of the start has it. Because: a supervisor of an older version lacks newer keys, and an upgrade must end no warm worker.
 */
function isStartedWith(then: Profile, now: Profile): boolean {
  return (
    hasSame(then, now, 'limits', 'ladder') &&
    hasSame(then.limits, now.limits) &&
    hasSame(then.ladder, now.ladder)
  );
}

/** Compares as JSON, because a profile from disk is another object. */
function hasSame<T extends object>(then: T, now: T, ...without: readonly (keyof T)[]): boolean {
  return (Object.keys(then) as (keyof T)[])
    .filter((key) => !without.includes(key))
    .every((key) => JSON.stringify(then[key]) === JSON.stringify(now[key]));
}

export function withWarm(pool: Pool, id: WorkerId, change: Partial<WarmWorker>): Pool {
  return { ...pool, workers: pool.workers.map((one) => (one.id === id ? { ...one, ...change } : one)) };
}

export function withoutWarm(pool: Pool, id: WorkerId): Pool {
  return { ...pool, workers: pool.workers.filter((one) => one.id !== id) };
}
