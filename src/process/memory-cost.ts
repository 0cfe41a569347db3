/** The memory that processes cost the host. Sources: cgroup v2 (`memory.stat`), proc(5) (`smaps_rollup`). */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { PssAnswer } from '../core/memory-sample.ts';
import { MEMORY } from '../lib/limits/worker-limits.ts';

/** Without `inactive_file`: the kernel drops these pages as soon as another process needs memory. `null`: not known. */
export function cgroupBytes(path: string): number | null {
  try {
    const bytes = Number(readFileSync(join(path, 'memory.current'), 'latin1'));
    const inactive = /^inactive_file (\d+)$/m.exec(readFileSync(join(path, 'memory.stat'), 'latin1'));
    // 0: no process entered the cgroup, so its charge says nothing about the worker.
    return bytes > 0 ? Math.max(0, bytes - Number(inactive?.[1] ?? 0)) : null;
  } catch {
    return null;
  }
}

/**
 * Reads proportional set sizes, one process at a time.
 * Because: the kernel walks the page tables of the process, some milliseconds for each 100 MiB, and holds its mmap lock.
 * A process that holds that lock for writing blocks the read. So at most one of Node's file threads is ever blocked.
 */
export class PssReader {
  readonly #readFile: (path: string) => Promise<string>;
  readonly #boundMs: number;
  #blocked = false;

  constructor(read = (path: string) => readFile(path, 'latin1'), boundMs: number = MEMORY.readMs) {
    this.#readFile = read;
    this.#boundMs = boundMs;
  }

  async read(pid: number): Promise<PssAnswer> {
    if (this.#blocked) return 'unknown';
    this.#blocked = true;
    const answer = this.#readFile(`/proc/${pid}/smaps_rollup`).then(parsePss, (error) => whyNot(pid, error));
    void answer.then(() => {
      this.#blocked = false;
    });
    return pTimeout(answer, { milliseconds: this.#boundMs, fallback: () => 'unknown' as const });
  }
}

function parsePss(text: string): PssAnswer {
  const found = /^Pss:\s+(\d+) kB$/m.exec(text);
  return found === null ? 'unreadable' : Number(found[1]) * 1024;
}

/** ENOENT of a process that lives: the kernel is older than 4.14 and has no such file. */
function whyNot(pid: number, { code }: NodeJS.ErrnoException): PssAnswer {
  switch (code) {
    case 'ESRCH':
      return 'gone';
    case 'ENOENT':
      return existsSync(`/proc/${pid}`) ? 'unreadable' : 'gone';
    case 'EACCES':
    case 'EPERM':
      return 'unreadable';
    default:
      return 'unknown';
  }
}
