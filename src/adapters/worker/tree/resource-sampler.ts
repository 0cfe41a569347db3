/**
 * Samples memory and processor time of each live worker, over all processes of its tree.
 * Memory is what the worker costs the host. The sum of resident memory counts shared pages once for each process.
 * That sum is cheap, so it decides wherever it is far below the limit. Near the limit the exact and slower measure decides.
 */
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import type { WorkerId } from '../../../core/ids.ts';
import type { MemorySample, ProcessMemory } from '../../../core/memory-sample.ts';
import { totalMemory } from '../../../core/memory-sample.ts';
import { messageOf } from '../../../lib/errors.ts';
import { MEMORY } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import { cgroupBytes, PssReader } from '../../../process/memory-cost.ts';
import type { Scanner, Snapshot } from '../../../process/process-scan.ts';
import type { Self, Subject } from '../../../process/process-tree.ts';
import { resolveTree } from '../../../process/process-tree.ts';
import type { ProcessUsage } from './process-usage.ts';
import { UsageReader } from './process-usage.ts';

interface SamplerOptions {
  readonly scanner: Scanner;
  readonly self: Self;
  readonly log: Log;
  readonly everyMs: number;
  /** The trees of the workers that live now. */
  readonly trees: () => readonly SampledTree[];
  /** The memory limit that a sample of this worker is compared with. `null`: none. */
  readonly limitOf: (workerId: WorkerId) => number | null;
  readonly onSample: (workerId: WorkerId, memory: MemorySample, cpuPercent: number) => void;
}

interface SampledTree {
  readonly subject: Subject;
  /** `null`: the worker has no cgroup. */
  readonly cgroup: string | null;
}

const TREES_PER_TURN = 50;

/** Samples repeatedly until the returned function is called. */
export function startSampler(options: SamplerOptions): () => void {
  let stopped = false;
  const [pss, usage] = [new PssReader(), new UsageReader()];
  const unknown = new Set<WorkerId>();
  const next = (tookMs: number) =>
    setTimeout(tick, Math.max(options.everyMs, tookMs * MEMORY.pauseFactor)).unref();
  let timer = next(0);

  async function tick(): Promise<void> {
    const sinceMs = performance.now();
    await sample({ ...options, pss, usage, unknown, isStopped: () => stopped }).catch((error: unknown) => {
      options.log.warn(
        { error: messageOf(error) },
        'the memory and CPU use of the workers could not be read; the next sample tries again',
      );
    });
    if (!stopped) timer = next(performance.now() - sinceMs);
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

interface Round extends SamplerOptions {
  readonly pss: PssReader;
  readonly usage: UsageReader;
  /** Workers whose last sample could not be taken. The log names each of them once. */
  readonly unknown: Set<WorkerId>;
  readonly isStopped: () => boolean;
}

async function sample(round: Round): Promise<void> {
  round.usage.forgetOld(performance.now());
  if (round.trees().length === 0) return;
  // Reading marks is expensive, so this scan reads none. It misses processes that left group, session and parents.
  const snapshot = await round.scanner.scan(Number.POSITIVE_INFINITY);
  const trees = round.trees();
  const living = new Set(trees.map(({ subject }) => subject.workerId));
  for (const id of round.unknown) if (!living.has(id)) round.unknown.delete(id);
  for (let at = 0; at < trees.length && !round.isStopped(); at += TREES_PER_TURN) {
    await setImmediate();
    await sampleTrees(round, snapshot, trees.slice(at, at + TREES_PER_TURN));
  }
}

async function sampleTrees(round: Round, snapshot: Snapshot, trees: readonly SampledTree[]) {
  const parts = trees.map(({ subject, cgroup }) => {
    const tree = resolveTree(snapshot, subject, { self: round.self, inside: [] });
    return { id: subject.workerId, cgroup, pids: tree.members.map((one) => one.pid) };
  });
  const pids = parts.flatMap((one) => one.pids);
  const usage = await round.usage.read(pids, () => performance.now());
  for (const { id, cgroup, pids } of parts) {
    const found = new Map(pids.flatMap((pid) => withPid(pid, usage.get(pid))));
    if (found.size === 0) continue;
    const memory = await memoryOf(found, { cgroup, limitBytes: round.limitOf(id), pss: round.pss });
    if (round.isStopped()) return;
    if (memory === null) noteUnknown(round, id);
    else {
      round.unknown.delete(id);
      round.onSample(id, memory, sum(found, 'cpu'));
    }
  }
}

function noteUnknown({ unknown, log }: Round, worker: WorkerId): void {
  if (unknown.has(worker)) return;
  unknown.add(worker);
  log.warn(
    { worker },
    'the memory of a worker near its limit could not be read: curfew ends no call for it, and the next sample tries again',
  );
}

function withPid(pid: number, usage: ProcessUsage | undefined): [number, ProcessUsage][] {
  return usage === undefined ? [] : [[pid, usage]];
}

async function memoryOf(
  found: ReadonlyMap<number, ProcessUsage>,
  { cgroup, limitBytes, pss }: { cgroup: string | null; limitBytes: number | null; pss: PssReader },
): Promise<MemorySample | null> {
  const charged = cgroup === null ? null : cgroupBytes(cgroup);
  if (charged !== null) return { bytes: charged, measure: 'cgroup' };
  const rssBytes = sum(found, 'memory');
  if (limitBytes === null || rssBytes < limitBytes * MEMORY.exactShare)
    return { bytes: rssBytes, measure: 'rss' };
  const processes: ProcessMemory[] = [];
  for (const [pid, { memory }] of found) processes.push({ rssBytes: memory, pss: await pss.read(pid) });
  return totalMemory(processes, limitBytes);
}

function sum(found: ReadonlyMap<number, ProcessUsage>, key: keyof ProcessUsage): number {
  return [...found.values()].reduce((total, one) => total + one[key], 0);
}
