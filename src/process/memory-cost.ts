/** The memory that processes cost the host. Sources: cgroup v2 (`memory.stat`), proc(5) (`smaps_rollup`). */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
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

/** `gone`: the process ended. `unreadable`: another user's process, an old kernel, or an answer that took too long. */
export type PssAnswer = number | 'gone' | 'unreadable';

/**
 * Reads proportional set sizes, one process at a time.
 * Because: the kernel walks the page tables of the process, some milliseconds for each 100 MiB, and holds its mmap lock.
 * A process that holds that lock for writing blocks the read. So at most one of Node's file threads is ever blocked.
 */
export class PssReader {
  #blocked = false;

  async read(pid: number): Promise<PssAnswer> {
    if (this.#blocked) return 'unreadable';
    this.#blocked = true;
    const answer = readFile(`/proc/${pid}/smaps_rollup`, 'latin1').then(parsePss, whyNot);
    void answer.then(() => {
      this.#blocked = false;
    });
    return pTimeout(answer, { milliseconds: MEMORY.readMs, fallback: () => 'unreadable' as const });
  }
}

function parsePss(text: string): PssAnswer {
  const found = /^Pss:\s+(\d+) kB$/m.exec(text);
  return found === null ? 'unreadable' : Number(found[1]) * 1024;
}

/** ESRCH: the process ended. ENOENT has the same meaning, or the kernel is older than 4.14 and has no such file. */
function whyNot(error: NodeJS.ErrnoException): PssAnswer {
  return error.code === 'ESRCH' ? 'gone' : 'unreadable';
}
