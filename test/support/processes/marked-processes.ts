/** The test's own reading of /proc: which living processes carry this instance's mark. */
import { readdirSync, readFileSync } from 'node:fs';

/** Field 22 of the line; the state, after the name, is its third. */
const START_TIME = 22 - 3;

export interface Marked {
  readonly pid: number;
  readonly worker: string;
  readonly command: string;
}

/** The oldest first. Not by pid: the kernel begins anew at its largest. */
export function marked(instance: string): Marked[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readMarked(Number(name), instance))
    .sort((one, other) => one.startTicks - other.startTicks)
    .map(({ startTicks: _, ...found }) => found);
}

function readMarked(pid: number, instance: string): (Marked & { startTicks: number })[] {
  try {
    const mark = readFileSync(`/proc/${pid}/environ`, 'latin1')
      .split('\0')
      .find((entry) => entry.startsWith(`CURFEW_WORKER=${instance}/`));
    if (mark === undefined) return [];
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state = ''] = fields;
    if (state === 'Z' || state === 'X') return [];
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
    const startTicks = Number(fields[START_TIME]);
    return [{ startTicks, pid, worker: mark.slice(`CURFEW_WORKER=${instance}/`.length), command }];
  } catch {
    return [];
  }
}
