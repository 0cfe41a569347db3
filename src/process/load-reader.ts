/**
 * The load of the host, or of the container if its limits are narrower.
 * Sources: proc(5) (`/proc/stat`, MemAvailable), cgroups(7) (`memory.max`, `cpu.max`).
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { HostMonitor } from '../ports/host-monitor.ts';
import { ownCgroups, textOf } from './own-cgroups.ts';

interface Ticks {
  readonly all: number;
  readonly busy: number;
}

interface Quota {
  /** Cores. */
  readonly most: number;
  readonly usedUs: number;
}

export function createHostMonitor(): HostMonitor {
  let ticks = readTicks();
  let quotas = readQuotas();
  let sinceMs = performance.now();
  return {
    sample: () => {
      const [nowTicks, nowQuotas, nowMs] = [readTicks(), readQuotas(), performance.now()];
      const shares = [
        shareOfTicks(ticks, nowTicks),
        ...[...nowQuotas].map(([path, quota]) => shareOfQuota(quotas.get(path), quota, nowMs - sinceMs)),
      ].filter((one) => one !== null);
      [ticks, quotas, sinceMs] = [nowTicks, nowQuotas, nowMs];
      return { cpu: shares.length === 0 ? null : Math.max(...shares), memoryFree: leastFree() };
    },
  };
}

/** `null`: the file cannot be read. */
function readTicks(): Ticks | null {
  const fields = /^cpu +(.*)$/m.exec(textOf('/proc/stat'))?.[1]?.split(' ').map(Number);
  if (fields === undefined) return null;
  // user, nice, system, idle, iowait, irq, softirq, steal. The guest times are in user already.
  const all = fields.slice(0, 8).reduce((sum, one) => sum + one, 0);
  return { all, busy: all - (fields[3] ?? 0) - (fields[4] ?? 0) };
}

function shareOfTicks(before: Ticks | null, now: Ticks | null): number | null {
  if (before === null || now === null || now.all <= before.all) return null;
  return (now.busy - before.busy) / (now.all - before.all);
}

/** By folder: the cgroups with a bound of the processor. Version 2 only. */
function readQuotas(): Map<string, Quota> {
  const found = new Map<string, Quota>();
  for (const path of ownCgroups('cpu')) {
    const [quota, period] = textOf(join(path, 'cpu.max')).trim().split(' ').map(Number);
    const usedUs = Number(/^usage_usec (\d+)$/m.exec(textOf(join(path, 'cpu.stat')))?.[1] ?? Number.NaN);
    if (quota && period && Number.isFinite(usedUs)) found.set(path, { most: quota / period, usedUs });
  }
  return found;
}

function shareOfQuota(before: Quota | undefined, now: Quota, tookMs: number): number | null {
  if (before === undefined || tookMs <= 0) return null;
  return (now.usedUs - before.usedUs) / 1000 / (tookMs * now.most);
}

/** The share of memory that is free, on the host or in the tightest cgroup around this process. `null`: not known. */
function leastFree(): number | null {
  const shares = [freeOnHost(), ...ownCgroups('memory').map(freeIn)].filter((one) => one !== null);
  return shares.length === 0 ? null : Math.max(0, Math.min(...shares));
}

function freeOnHost(): number | null {
  const text = textOf('/proc/meminfo');
  const total = Number(/^MemTotal:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  const free = Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN);
  return total > 0 && Number.isFinite(free) ? free / total : null;
}

/** `null`: the cgroup has no bound. Version 1 shows a number near 2^63 then. */
function freeIn(path: string): number | null {
  const v2 = textOf(join(path, 'memory.max')) !== '';
  const most = Number(textOf(join(path, v2 ? 'memory.max' : 'memory.limit_in_bytes')).trim());
  const used = Number(textOf(join(path, v2 ? 'memory.current' : 'memory.usage_in_bytes')).trim());
  if (!(most > 0) || most > Number.MAX_SAFE_INTEGER || !Number.isFinite(used)) return null;
  const inactive = /^(?:total_)?inactive_file (\d+)$/m.exec(textOf(join(path, 'memory.stat')));
  return (most - used + Number(inactive?.[1] ?? 0)) / most;
}
