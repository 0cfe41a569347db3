/** What tests know of processes, by a reading of /proc of their own. */
import { readdirSync, readFileSync } from 'node:fs';

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return null;
  }
}

/** Neither gone nor a zombie. */
export function isAlive(pid: number): boolean {
  const stat = readProc(pid, 'stat');
  return stat !== null && !/^[ZXx]/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

/** Pids with this text in their arguments. */
export function pidsCalled(text: string): number[] {
  return allPids().filter((pid) => readProc(pid, 'cmdline')?.includes(text) && isAlive(pid));
}

/** So long sleeps nobody else on this machine; the unit keeps it from being the beginning of another one. */
export const nap = (seconds: number) => `${seconds}${process.pid}s`;

export function pidsNapping(seconds: number): number[] {
  return pidsCalled(`sleep\0${nap(seconds)}`);
}

function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** For the end of a test, which must leave nothing behind even when it failed. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  }
}
