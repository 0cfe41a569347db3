/** Finds the living processes with the mark of an instance. The tests read /proc with their own code. */
import { readdirSync, readFileSync } from 'node:fs';

/** The index of field 22, when the state (field 3) has index 0. */
const START_TIME = 22 - 3;

export interface Marked {
  readonly pid: number;
  readonly worker: string;
  readonly command: string;
}

/** Oldest first, by start time. Because: the kernel reuses pids after the largest one. */
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
