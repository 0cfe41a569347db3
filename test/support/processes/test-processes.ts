/** Facts about processes. The tests read /proc with their own code. */
import { readdirSync, readFileSync } from 'node:fs';
import { until } from '../lib/wait.ts';

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return null;
  }
}

/** True while the process exists and is no zombie. */
export function isAlive(pid: number): boolean {
  return !/^[ZXx]/.test(stateIn(readProc(pid, 'stat')));
}

/** Stops a process. Race: the signal stops its threads one after the other, and one of them may answer a request yet. */
export async function suspend(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const isStopped = (tid: string) => /^[TZXx]/.test(stateIn(readProc(pid, `task/${tid}/stat`)));
  await until(`process ${pid} is stopped`, () => readdirSync(`/proc/${pid}/task`).every(isStopped));
}

function stateIn(stat: string | null): string {
  return stat === null ? 'X' : stat.slice(stat.lastIndexOf(')') + 2);
}

/** The pids of the living processes with this text in their arguments. */
export function pidsCalled(text: string): number[] {
  return allPids().filter((pid) => readProc(pid, 'cmdline')?.includes(text) && isAlive(pid));
}

/** A sleep argument that no other process on this machine has. The unit at its end keeps it from being a prefix of another one. */
export const nap = (seconds: number) => `${seconds}${process.pid}s`;

export function pidsNapping(seconds: number): number[] {
  return pidsCalled(`sleep\0${nap(seconds)}`);
}

function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/** Kills the processes at the end of a test, also after a failure. A process that is gone is no error. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Expected: the process is gone already.
    }
  }
}
