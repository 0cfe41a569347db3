/** The test's own reading of /proc: which living processes carry this instance's mark. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Marked {
  readonly pid: number;
  readonly worker: string;
  readonly command: string;
}

export function marked(instance: string): Marked[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readMarked(Number(name), instance));
}

function readMarked(pid: number, instance: string): Marked[] {
  try {
    const mark = readFileSync(`/proc/${pid}/environ`, 'latin1')
      .split('\0')
      .find((entry) => entry.startsWith(`CURFEW_WORKER=${instance}/`));
    if (mark === undefined) return [];
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (state === 'Z' || state === 'X') return [];
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
    return [{ pid, worker: mark.slice(`CURFEW_WORKER=${instance}/`.length), command }];
  } catch {
    return [];
  }
}
