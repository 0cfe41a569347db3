/**
 * Memory and processor time of processes, from /proc/PID/stat. Source: proc(5).
 * No file stays open between two samples. Because: a worker may have any number of processes. A file for each of them would
 * take the descriptors of the API and of other calls. An open file also belongs to the earlier process of a recycled pid.
 */
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { TICK_MS } from '../../../lib/limits/worker-limits.ts';

export interface ProcessUsage {
  /** Resident bytes. */
  readonly memory: number;
  /** Percent of one core since the last sample. 0: it has no recent one. */
  readonly cpu: number;
}

interface Counted {
  readonly startTicks: number;
  readonly cpuTicks: number;
  readonly atMs: number;
}

/** Processor time is computed from two samples at most this far apart. */
const LONGEST_GAP_MS = 60_000;
const PIDS_PER_TURN = 50;
/** Fields after the name, counted from 0: the state. */
const [USER_TICKS, SYSTEM_TICKS, START_TICKS, RESIDENT_PAGES] = [11, 12, 19, 21] as const;

export class UsageReader {
  readonly #readStat: (pid: number) => string;
  readonly #pageBytes = pageBytes();
  readonly #earlier = new Map<number, Counted>();

  constructor(readStat = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'latin1')) {
    this.#readStat = readStat;
  }

  /** A process that ended, or that cannot be read, is missing in the answer. */
  async read(pids: readonly number[], nowMs: () => number): Promise<Map<number, ProcessUsage>> {
    const usage = new Map<number, ProcessUsage>();
    for (const [index, pid] of pids.entries()) {
      if (index % PIDS_PER_TURN === PIDS_PER_TURN - 1) await setImmediate();
      const one = this.#readOne(pid, nowMs());
      if (one !== null) usage.set(pid, one);
    }
    return usage;
  }

  /** Forgets the processes without a recent sample. */
  forgetOld(nowMs: number): void {
    for (const [pid, { atMs }] of this.#earlier) if (nowMs - atMs > LONGEST_GAP_MS) this.#earlier.delete(pid);
  }

  #readOne(pid: number, atMs: number): ProcessUsage | null {
    const fields = this.#fieldsOf(pid);
    const [user, system, startTicks, pages] = [USER_TICKS, SYSTEM_TICKS, START_TICKS, RESIDENT_PAGES].map(
      (field) => Number(fields?.[field] ?? Number.NaN),
    ) as [number, number, number, number];
    const cpuTicks = user + system;
    if (Number.isNaN(cpuTicks + startTicks + pages)) return null;
    const now = { startTicks, cpuTicks, atMs };
    const cpu = cpuPercent(this.#earlier.get(pid), now);
    this.#earlier.set(pid, now);
    return { memory: pages * this.#pageBytes, cpu };
  }

  /** `null`: the process is gone, belongs to another user, or no descriptor is free. */
  #fieldsOf(pid: number): string[] | null {
    try {
      const line = this.#readStat(pid);
      // The process chooses its own name, so only the last `)` ends it.
      return line.slice(line.lastIndexOf(')') + 2).split(' ');
    } catch {
      return null;
    }
  }
}

/** A recycled pid has another start time, so the earlier sample is of another process. */
function cpuPercent(earlier: Counted | undefined, now: Counted): number {
  const gapMs = now.atMs - (earlier?.atMs ?? now.atMs);
  if (earlier?.startTicks !== now.startTicks || gapMs <= 0 || gapMs > LONGEST_GAP_MS) return 0;
  return ((now.cpuTicks - earlier.cpuTicks) * TICK_MS * 100) / gapMs;
}

const AT_PAGESZ = 6n;
const WORD_BYTES = 8;
const USUAL_PAGE_BYTES = 4096;

/** The size of a page, as the kernel tells each process at its start. Source: getauxval(3). */
function pageBytes(): number {
  try {
    const auxv = readFileSync('/proc/self/auxv');
    for (let at = 0; at + 2 * WORD_BYTES <= auxv.length; at += 2 * WORD_BYTES)
      if (auxv.readBigUInt64LE(at) === AT_PAGESZ) return Number(auxv.readBigUInt64LE(at + WORD_BYTES));
  } catch {
    // A process that changed its user may not read it.
  }
  return USUAL_PAGE_BYTES;
}
