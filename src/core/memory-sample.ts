/** A sample of a worker's memory: its measure and its text. */

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

const MEASURE_TEXTS: Readonly<Record<MemoryMeasure, string>> = {
  cgroup: 'charged to its cgroup',
  pss: 'proportional set size',
  pss_partly: 'proportional set size, and resident set size of the processes that curfew may not read',
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
