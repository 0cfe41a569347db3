/** A sample of a worker's memory: its measure, its total over the processes of the worker, and its text. */

/**
 * - `cgroup`: what the kernel charges to the worker's cgroup, without file pages that the kernel can drop at once.
 * - `pss`: a page that several processes share counts once, divided among its users.
 * - `pss_partly`: the same, but curfew may not read some processes. For these it counts the resident memory.
 * - `rss`: resident memory of all processes. A shared page counts once for each process.
 */
export const MEMORY_MEASURES = ['cgroup', 'pss', 'pss_partly', 'rss'] as const;
export type MemoryMeasure = (typeof MEMORY_MEASURES)[number];

export interface MemorySample {
  readonly bytes: number;
  readonly measure: MemoryMeasure;
}

/**
 * The proportional set size of one process in bytes. `gone`: the process ended.
 * `unreadable`: curfew can never read it, because the process has another user, or the kernel is old.
 * `unknown`: no answer this time, because the process holds its memory's lock, or curfew has no free file descriptor.
 */
export type PssAnswer = number | 'gone' | 'unreadable' | 'unknown';

export interface ProcessMemory {
  readonly rssBytes: number;
  readonly pss: PssAnswer;
}

/**
 * The memory of all processes of a worker. A process without an answer costs between nothing and its resident memory.
 * null: the limit lies between the two, so it is not known whether the worker is over its limit. Unknown is not over.
 */
export function totalMemory(processes: readonly ProcessMemory[], limitBytes: number): MemorySample | null {
  const count = (pss: PssAnswer) => processes.filter((one) => one.pss === pss).length;
  const sum = (unknown: (rssBytes: number) => number) =>
    processes.reduce((bytes, one) => bytes + bytesOf(one, unknown), 0);
  const [least, most] = [sum(() => 0), sum((rssBytes) => rssBytes)];
  if (least <= limitBytes && most > limitBytes) return null;
  if (count('unreadable') === processes.length) return { bytes: most, measure: 'rss' };
  const isWhole = count('unreadable') + count('unknown') === 0;
  return { bytes: least > limitBytes ? least : most, measure: isWhole ? 'pss' : 'pss_partly' };
}

function bytesOf({ rssBytes, pss }: ProcessMemory, unknown: (rssBytes: number) => number): number {
  switch (pss) {
    case 'gone':
      return 0;
    case 'unreadable':
      return rssBytes;
    case 'unknown':
      return unknown(rssBytes);
    default:
      return pss;
  }
}

const MEASURE_TEXTS: Readonly<Record<MemoryMeasure, string>> = {
  cgroup: 'charged to its cgroup',
  pss: 'proportional set size',
  pss_partly: 'proportional set size, and resident set size of the processes that curfew could not read',
  rss: 'resident set size',
};

/** `612 MiB, proportional set size`. */
export function memoryText({ bytes, measure }: MemorySample): string {
  return `${mebibytes(bytes)}, ${MEASURE_TEXTS[measure]}`;
}

/** One decimal below 10 MiB, so that a small excess over a small limit is visible. */
export function mebibytes(bytes: number): string {
  const size = bytes / 1024 ** 2;
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} MiB`;
}
