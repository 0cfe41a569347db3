/** Samples resident memory and processor time of each live worker, summed over the processes of its tree. */
import { setImmediate } from 'node:timers/promises';
import pTimeout from 'p-timeout';
import pidusage from 'pidusage';
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { Scanner, Snapshot } from '../../../process/process-scan.ts';
import type { Self, Subject } from '../../../process/process-tree.ts';
import { resolveTree } from '../../../process/process-tree.ts';

interface SamplerOptions {
  readonly scanner: Scanner;
  readonly self: Self;
  readonly log: Log;
  readonly everyMs: number;
  /** The trees of the workers that live now. */
  readonly trees: () => readonly Subject[];
  readonly onSample: (workerId: WorkerId, rssBytes: number, cpuPercent: number) => void;
}

interface Usage {
  readonly memory: number;
  readonly cpu: number;
}

/** pidusage keeps a descriptor per process open for a while, so it gets few at a time. */
const PIDS_AT_ONCE = 100;
const TREES_PER_TURN = 50;
/** pidusage computes processor time from two samples at most this far apart. The first sample has none. */
const USAGE_AGE_MS = 60_000;

/** Samples repeatedly until the returned function is called. */
export function startSampler(options: SamplerOptions): () => void {
  let stopped = false;
  const next = () => setTimeout(tick, options.everyMs).unref();
  let timer = next();

  async function tick(): Promise<void> {
    await sample(options, () => stopped).catch((error: unknown) => {
      options.log.warn(
        { error: messageOf(error) },
        'the memory and CPU use of the workers could not be read; the next sample tries again',
      );
    });
    if (!stopped) timer = next();
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

async function sample(options: SamplerOptions, isStopped: () => boolean): Promise<void> {
  if (options.trees().length === 0) return;
  // Reading marks is expensive, so this scan reads none. It misses processes that left group, session and parents.
  const snapshot = await options.scanner.scan(Number.POSITIVE_INFINITY);
  const trees = options.trees();
  for (let at = 0; at < trees.length && !isStopped(); at += TREES_PER_TURN) {
    await setImmediate();
    await sampleTrees(options, snapshot, trees.slice(at, at + TREES_PER_TURN));
  }
}

async function sampleTrees(options: SamplerOptions, snapshot: Snapshot, trees: readonly Subject[]) {
  const parts = trees.map((subject) => {
    const tree = resolveTree(snapshot, subject, { self: options.self, inside: [] });
    return { id: subject.workerId, pids: tree.members.map((one) => one.pid) };
  });
  const usage = await usageOf(parts.flatMap((one) => one.pids));
  for (const { id, pids } of parts) {
    const found = pids.flatMap((pid) => usage.get(pid) ?? []);
    if (found.length > 0) options.onSample(id, sum(found, 'memory'), sum(found, 'cpu'));
  }
}

function sum(found: readonly Usage[], key: keyof Usage): number {
  return found.reduce((total, one) => total + one[key], 0);
}

/** Processes that ended meanwhile are missing. pidusage rejects a batch in which all have ended; that counts as empty. */
async function usageOf(pids: readonly number[]): Promise<Map<number, Usage>> {
  const usage = new Map<number, Usage>();
  for (let at = 0; at < pids.length; at += PIDS_AT_ONCE) {
    const batch = pids.slice(at, at + PIDS_AT_ONCE);
    const sampled = pidusage(batch, { maxage: USAGE_AGE_MS, usePs: false });
    const stats = await pTimeout(sampled, { milliseconds: WORKERS.sampleMs }).catch(() => ({}));
    for (const [pid, one] of Object.entries<Usage | null>(stats)) if (one) usage.set(Number(pid), one);
  }
  return usage;
}
