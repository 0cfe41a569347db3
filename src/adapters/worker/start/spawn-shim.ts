/** Starts one shim with its command, and waits until the command runs. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setImmediate, setTimeout } from 'node:timers/promises';
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { CurfewError, messageOf } from '../../../lib/errors.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import { readFileSafelySync } from '../../../lib/safe-files.ts';
import { killNewborn } from '../../../process/checked-signal.ts';
import type { ProcTable } from '../../../process/proc-files.ts';
import { findAlive, parseStat } from '../../../process/proc-files.ts';
import type { WorkerFolder } from '../folder/worker-folder.ts';
import { SHIM_CMDLINE, SHIM_REFUSED, shimCommand } from './shim.ts';

export interface Start {
  readonly folder: WorkerFolder;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly umask: string;
  readonly maxFileBytes: number;
  readonly cgroup: string | null;
}

export interface ShellExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface Shim {
  readonly identity: ProcessIdentity;
  /** Of the shim itself; never rejects. */
  readonly ended: Promise<ShellExit>;
  /** Null while it runs. */
  exit(): ShellExit | null;
  /** Its end is not waited for any more. */
  leave(): void;
}

/** In a session of its own, with no pipe and no descriptor of the supervisor's: it must not die with it. */
export async function startShim(
  start: Start & { readonly proc: ProcTable; readonly bootId: string; readonly logFd: number },
): Promise<Shim> {
  const { file, args } = shimCommand({ ...start, folder: start.folder.path });
  const { proc, bootId, cwd, env, logFd } = start;
  const child = attempt(() =>
    spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', logFd, logFd] }),
  );
  if (child.pid === undefined) throw notStarted(await failureOf(child));
  child.unref();
  const identity = { bootId, pid: child.pid, startTicks: startTicksOf(proc, child.pid) };
  let exit: ShellExit | null = null;
  const ended = new Promise<ShellExit>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = { code, signal };
      resolve(exit);
    });
  });
  return { identity, ended, exit: () => exit, leave: () => undefined };
}

/** It is not reaped before the event loop turns, so that the number is certainly still its own. */
function startTicksOf(proc: ProcTable, pid: number): number {
  try {
    const stat = proc.stat(pid);
    if (stat) return stat.startTicks;
    throw new Error('it is not there');
  } catch (error) {
    killNewborn(pid);
    throw notStarted(`/proc/${pid} cannot be read: ${messageOf(error)}`);
  }
}

function attempt(start: () => ChildProcess): ChildProcess {
  try {
    return start();
  } catch (error) {
    throw notStarted(messageOf(error));
  }
}

function failureOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
  });
}

function notStarted(why: string): CurfewError {
  return new CurfewError('spawn_failed', `the worker's shim did not start: ${why}`);
}

/** As a rule the command runs after one millisecond, which a timer cannot tell from two: so long the event loop just turns. */
const TURNING_MS = 3;
const LONGEST_WAIT_MS = 50;

/** The command's identity, as soon as it is the command that runs. Null: it has ended and left no trace of its pid. */
export async function waitForMain(
  proc: ProcTable,
  shim: Shim,
  start: Start,
): Promise<ProcessIdentity | null> {
  const sinceMs = performance.now();
  for (let waitMs = 1; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 1.5)) {
    const exit = shim.exit();
    const main = readPid(start.folder, shim.identity.bootId);
    if (exit) return afterEnd(exit, main, start);
    if (main && isCommand(proc, main)) return main;
    const tookMs = performance.now() - sinceMs;
    if (tookMs > WORKERS.spawnMs) throw tooSlow(start);
    if (tookMs < TURNING_MS) {
      waitMs = 1;
      await setImmediate();
    } else await Promise.race([setTimeout(waitMs), shim.ended]);
  }
}

/** A command that was quicker than we are did run; one that could not be executed is told by the shim. */
function afterEnd(exit: ShellExit, main: ProcessIdentity | null, start: Start): ProcessIdentity | null {
  const { folder, command } = start;
  if (existsSync(folder.unstarted)) {
    const what = `the command ${JSON.stringify(command[0])} could not be executed (status ${exit.code})`;
    throw new CurfewError('spawn_failed', `${what}: is its interpreter there? See ${folder.log}`);
  }
  if (main || exit.code === null) return main;
  const why =
    exit.code === SHIM_REFUSED ? 'its start was claimed before, or nothing can be written there' : '';
  throw new CurfewError(
    'spawn_failed',
    `nothing was started in ${folder.path}: ${why || `status ${exit.code}`}`,
  );
}

function readPid(folder: WorkerFolder, bootId: string): ProcessIdentity | null {
  if (!existsSync(folder.pid)) return null;
  const text = readFileSafelySync(folder.pid, FILES.smallBytes);
  const stat = text.endsWith('\n') ? parseStat(text) : null;
  return stat && { bootId, pid: stat.pid, startTicks: stat.startTicks };
}

/** Between its fork and its exec the child still is the shim. */
function isCommand(proc: ProcTable, main: ProcessIdentity): boolean {
  if (!findAlive(proc, main)) return false;
  const cmdline = proc.cmdline(main.pid);
  return cmdline !== null && cmdline !== '' && !cmdline.startsWith(SHIM_CMDLINE);
}

function tooSlow(start: Start): CurfewError {
  const what = JSON.stringify(start.command[0]);
  return new CurfewError('spawn_failed', `the command ${what} did not run within ${WORKERS.spawnMs} ms`);
}
