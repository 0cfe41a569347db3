/**
 * The load of the host, as admission sees it: smoothed, and with a gap between full and free again.
 * A start of a worker takes a whole core for seconds. Without smoothing each start would refuse the next call.
 */

/** One sample of the host. Shares from 0 to 1. null: not known. */
export interface HostSample {
  readonly cpu: number | null;
  readonly memoryFree: number | null;
}

export interface HostLimits {
  /** Share of the processor from which on new calls wait. null: no limit. */
  readonly cpu?: number | null;
  /** Share of the memory below which new calls wait. null: no limit. */
  readonly memoryFree?: number | null;
}

export type HostQuota = 'cpu' | 'memory_free';

export interface HostLoad {
  readonly cpu: number | null;
  readonly memoryFree: number | null;
  /** The limits that the host is over. */
  readonly over: readonly HostQuota[];
  readonly sampledMs: number;
}

/** Time constant of the average. */
const SMOOTH_MS = 10_000;
/** The load must be this far on the free side of the limit again. */
const RECOVERY_SHARE = 0.03;

export function newHostLoad(nowMs: number): HostLoad {
  // The processor begins at 0: the start of the supervisor itself is no load of calls.
  return { cpu: 0, memoryFree: null, over: [], sampledMs: nowMs };
}

export function noteSample(load: HostLoad, sample: HostSample, limits: HostLimits, nowMs: number): HostLoad {
  const weight = 1 - Math.exp(-Math.max(0, nowMs - load.sampledMs) / SMOOTH_MS);
  const cpu = smooth(load.cpu, sample.cpu, weight);
  const memoryFree = smooth(load.memoryFree, sample.memoryFree, weight);
  const over: HostQuota[] = [];
  const cpuLimit = limits.cpu ?? null;
  if (cpu !== null && cpuLimit !== null && cpu >= cpuLimit - gap(load, 'cpu')) over.push('cpu');
  const freeLimit = limits.memoryFree ?? null;
  if (memoryFree !== null && freeLimit !== null && memoryFree <= freeLimit + gap(load, 'memory_free'))
    over.push('memory_free');
  return { cpu, memoryFree, over, sampledMs: nowMs };
}

function smooth(before: number | null, now: number | null, weight: number): number | null {
  if (before === null || now === null) return now ?? before;
  return before + (now - before) * weight;
}

function gap(load: HostLoad, name: HostQuota): number {
  return load.over.includes(name) ? RECOVERY_SHARE : 0;
}

/** `limit` and `used` of a host quota, in percent. */
export function hostPercent(
  load: HostLoad,
  limits: HostLimits,
  name: HostQuota,
): { limit: number; used: number } {
  const [limit, used] = name === 'cpu' ? [limits.cpu, load.cpu] : [limits.memoryFree, load.memoryFree];
  return { limit: Math.round((limit ?? 0) * 100), used: Math.round((used ?? 0) * 100) };
}

export function isHostQuota(name: string): name is HostQuota {
  return name === 'cpu' || name === 'memory_free';
}

/** `cpu: 91 % in use, the limit is 80 %`. */
export function hostText(load: HostLoad, limits: HostLimits, name: HostQuota): string {
  return `${name}: ${hostUseText(name, hostPercent(load, limits, name))}`;
}

/** `91 % in use, the limit is 80 %`. */
export function hostUseText(name: HostQuota, { limit, used }: { limit: number; used: number }): string {
  return `${used} % ${name === 'cpu' ? 'in use' : 'free'}, the limit is ${limit} %`;
}
