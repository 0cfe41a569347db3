/** The command line of a process, for patterns and for people. */
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import type { ProcTable } from '../../process/proc-files.ts';

export function commandOf(proc: ProcTable, pid: number): string {
  return (proc.cmdline(pid) ?? '').replace(/\0+$/, '').replaceAll('\0', ' ');
}

/** The command line as plans show it, with a bounded length. */
export function shownCommandOf(proc: ProcTable, pid: number): string {
  return commandOf(proc, pid).slice(0, CLEANUP.commandChars);
}
