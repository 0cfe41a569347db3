/**
 * Zygotes of one agent: when to start, to renew and to end one, and from which one a worker is forked. Pure; the runtime starts
 * and ends them. An old zygote serves until the new one has reached its fork point, and a new one that fails changes nothing.
 */
import { ZYGOTE } from '../../lib/limits/worker-limits.ts';
import type { WorkerId } from '../ids.ts';
import type { Profile } from '../model/profile.ts';
import type { Crashes } from './crash-backoff.ts';
import { NO_CRASHES } from './crash-backoff.ts';

export const LATE = 'it did not reach its fork point in time';
export const TOO_BIG = 'it has grown too big';

export interface Zygote {
  readonly id: WorkerId;
  /** The profile of its start. */
  readonly profile: Profile;
  /** `starting`: it imports the agent's file. */
  readonly state: 'starting' | 'ready';
  readonly sinceMs: number;
  /** It must be ready by then. */
  readonly readyByMs: number;
  readonly memoryBytes: number | null;
}

export interface ZygotePool extends Crashes {
  readonly zygotes: readonly Zygote[];
  /** Why the agent with this profile cannot be forked. null: it can, as far as known. */
  readonly unfit: { readonly profile: Profile; readonly why: string } | null;
  /** A renewal was asked for at this time. */
  readonly renewMs: number;
}

export const NO_ZYGOTES: ZygotePool = {
  ...NO_CRASHES,
  zygotes: [],
  unfit: null,
  renewMs: Number.NEGATIVE_INFINITY,
};

export interface ZygoteDecision {
  readonly start: boolean;
  readonly retire: readonly { readonly id: WorkerId; readonly why: string }[];
  /** When to decide again, if no event comes before; null: never. */
  readonly nextMs: number | null;
}

/** `wanted` null: no zygote is wanted. A zygote that serves goes on when a newer one was unfit. */
export function decideZygotes(pool: ZygotePool, wanted: Profile | null, nowMs: number): ZygoteDecision {
  const retire = pool.zygotes.flatMap((one) => {
    const why = whyRetire(one, { pool, wanted, nowMs });
    return why === null ? [] : [{ id: one.id, why }];
  });
  if (wanted === null) return { start: false, retire, nextMs: null };
  const left = pool.zygotes.filter((one) => !retire.some(({ id }) => id === one.id));
  const isStarting = left.some((one) => one.state === 'starting');
  const fresh = left.some((one) => one.state === 'ready' && nowMs < renewalAtMs(one, pool, wanted));
  const isDue = !isStarting && !fresh && !isUnfit(pool, wanted);
  const start = isDue && nowMs >= pool.notBeforeMs;
  const times = left.map((one) =>
    one.state === 'starting' ? one.readyByMs : renewalAtMs(one, pool, wanted),
  );
  if (isDue && !start) times.push(pool.notBeforeMs);
  const later = times.filter((time) => time > nowMs);
  return { start, retire, nextMs: later.length === 0 ? null : Math.min(...later) };
}

function whyRetire(
  one: Zygote,
  { pool, wanted, nowMs }: { pool: ZygotePool; wanted: Profile | null; nowMs: number },
): string | null {
  if (wanted === null) return 'none is wanted';
  if (!startsAlike(one.profile, wanted)) return 'its profile has changed';
  if (one.state === 'starting') return nowMs >= one.readyByMs ? LATE : null;
  // Two that a supervisor took back have the same age.
  const newer = pool.zygotes.some(
    (other, index) =>
      other.state === 'ready' && isNewer({ other, index }, one, pool) && startsAlike(other.profile, wanted),
  );
  if (newer) return 'a newer one has taken its place';
  return (one.memoryBytes ?? 0) > ZYGOTE.memoryBytes ? TOO_BIG : null;
}

function isNewer(
  { other, index }: { other: Zygote; index: number },
  one: Zygote,
  { zygotes }: ZygotePool,
): boolean {
  return other.sinceMs === one.sinceMs ? index > zygotes.indexOf(one) : other.sinceMs > one.sinceMs;
}

function renewalAtMs(one: Zygote, { renewMs }: ZygotePool, { preforkMaxAgeMs }: Profile): number {
  return one.sinceMs < renewMs ? renewMs : one.sinceMs + (preforkMaxAgeMs ?? ZYGOTE.maxAgeMs);
}

function isUnfit({ unfit }: ZygotePool, profile: Profile): boolean {
  return unfit !== null && startsAlike(unfit.profile, profile);
}

/** The zygote from which a worker of this profile is forked; null: none is ready. */
export function zygoteFor(pool: ZygotePool, profile: Profile): Zygote | null {
  return pool.zygotes.findLast((one) => one.state === 'ready' && startsAlike(one.profile, profile)) ?? null;
}

/** From which zygote workers of one profile are forked, and how long a start that nobody waits for is put off. */
export interface ForkSource {
  /** null: none is ready. */
  readonly serving: WorkerId | null;
  readonly starting: readonly WorkerId[];
  /** A start waits until then for the zygote that is starting. In the past: it does not wait. */
  readonly awaitedMs: number;
}

export const NO_SOURCE: ForkSource = {
  serving: null,
  starting: [],
  awaitedMs: Number.NEGATIVE_INFINITY,
};

/** The wait has a bound of its own, because a zygote may hang during its import. */
export function forkSource(pool: ZygotePool, profile: Profile): ForkSource {
  if (!isPreforked(profile)) return NO_SOURCE;
  const serving = zygoteFor(pool, profile)?.id ?? null;
  const starting = pool.zygotes.filter(
    (one) => one.state === 'starting' && startsAlike(one.profile, profile),
  );
  const isAwaited = serving === null && !isUnfit(pool, profile);
  return {
    serving,
    starting: starting.map(({ id }) => id),
    awaitedMs: Math.max(NO_SOURCE.awaitedMs, ...(isAwaited ? starting.map(awaitedMs) : [])),
  };
}

function awaitedMs({ readyByMs, profile: { limits } }: Zygote): number {
  return Math.min(readyByMs, readyByMs - limits.startTimeoutMs + ZYGOTE.awaitedMs);
}

/** Why a worker of this profile starts cold now; null: a zygote is ready for it, or none is wanted. */
export function whyCold(pool: ZygotePool, profile: Profile): string | null {
  if (!isPreforked(profile) || zygoteFor(pool, profile) !== null) return null;
  if (pool.unfit !== null && isUnfit(pool, profile)) return pool.unfit.why;
  if (pool.lastCrash !== null && pool.crashes > 0) return `its zygote failed: ${pool.lastCrash}`;
  return 'its zygote is not ready yet';
}

/** Why workers of this profile are forked from a zygote of an older time; null: it needs no renewal, or the renewal has not failed. */
export function whyOld(pool: ZygotePool, profile: Profile): string | null {
  const serving = isPreforked(profile) ? zygoteFor(pool, profile) : null;
  if (serving === null) return null;
  if (pool.unfit !== null && isUnfit(pool, profile)) return pool.unfit.why;
  const { lastCrash, lastCrashMs } = pool;
  return lastCrashMs !== null && lastCrashMs >= renewalAtMs(serving, pool, profile) ? lastCrash : null;
}

/** Node cannot fork. There the zygote's inference process is shared. */
export function isForked(profile: Profile): boolean {
  return isPreforked(profile) && !isOfNode(profile.command);
}

/** Whether the agent has a zygote, and each of its calls one process, where its framework can do that. */
export function isPreforked({ prefork = 'off', protocol }: Profile): boolean {
  return prefork !== 'off' && protocol === 'livekit';
}

const OF_NODE = /(^|\/)(node|nodejs|npm|npx|pnpm|yarn|tsx)$|\.[cm]?[jt]s$/;
const OF_PYTHON = /(^|\/)(python|pypy)[\d.]*$|\.py$/;

/** A wrapper may come before the program, so any word counts. */
function isOfNode(command: readonly string[]): boolean {
  return command.some((word) => OF_NODE.test(word)) && !command.some((word) => OF_PYTHON.test(word));
}

/** The keys of a profile that its process sees. A zygote has no limits of its own, so the others do not matter. */
const START_KEYS = [
  'command',
  'cwd',
  'env',
  'passEnv',
  'passAll',
  'envFile',
  'version',
  'protocol',
  'livekitAccess',
  'prefork',
] as const satisfies readonly (keyof Profile)[];

/** Compares as JSON, because a profile from disk is another object. */
function startsAlike(then: Profile, now: Profile): boolean {
  return START_KEYS.every((key) => JSON.stringify(then[key]) === JSON.stringify(now[key]));
}
