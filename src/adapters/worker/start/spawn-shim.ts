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
import { killNewChild } from '../../../process/checked-signal.ts';
import type { ProcTable } from '../../../process/proc-files.ts';
import { findAlive, parseStat } from '../../../process/proc-files.ts';
import { isProcessLimitNear, whyNoFork } from '../../../process/process-limits.ts';
import type { WorkerFolder } from '../folder/worker-folder.ts';
import { SHIM_CMDLINE, SHIM_REFUSED, shimCommand } from './shim.ts';

export interface StartPlan {
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
  /** Resolves when the shim itself has ended. Never rejects. */
  readonly ended: Promise<ShellExit>;
  /** `null`: the shim runs. */
  exit(): ShellExit | null;
  /** Stops the wait for its end. */
  stopWatching(): void;
}

/**
 * Starts the shim. Rejects spawn_failed.
 * The shim has a kernel session of its own, and no pipe or descriptor of the supervisor. So it survives the supervisor.
 */
export async function startShim(
  start: StartPlan & { readonly proc: ProcTable; readonly bootId: string; readonly logFd: number },
): Promise<Shim> {
  const { file, args } = shimCommand({ ...start, folder: start.folder.path });
  const { proc, bootId, cwd, env, logFd } = start;
  const child = spawnOrThrow(() =>
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
  return { identity, ended, exit: () => exit, stopWatching: () => undefined };
}

/** Node reaps the child only after this turn of the event loop, so the number is still the child's. */
function startTicksOf(proc: ProcTable, pid: number): number {
  try {
    const stat = proc.stat(pid);
    if (stat) return stat.startTicks;
    throw new Error('the process does not exist');
  } catch (error) {
    killNewChild(pid);
    throw notStarted(`/proc/${pid} cannot be read: ${messageOf(error)}`);
  }
}

function spawnOrThrow(start: () => ChildProcess): ChildProcess {
  try {
    return start();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    // Because: the message of such an error holds the value, which may be a secret.
    throw notStarted(
      code.startsWith('ERR_') ? `${code}: an argument or a path is not valid` : messageOf(error),
    );
  }
}

function failureOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
  });
}

function notStarted(why: string): CurfewError {
  const cause = why.includes('EAGAIN') ? `${why}; ${whyNoFork()}` : why;
  return new CurfewError('spawn_failed', `the worker's shim did not start: ${cause}`);
}

/**
 * A command usually runs after 1 ms. Timers are not that exact.
 * So for this time `waitForMain` checks in each turn of the event loop.
 */
const TURNING_MS = 3;
const LONGEST_WAIT_MS = 50;

/**
 * Resolves with the command's identity after its exec. Rejects spawn_failed.
 * `null`: the shim was killed before the command's pid was written.
 */
export async function waitForMain(
  proc: ProcTable,
  shim: Shim,
  start: StartPlan,
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

/** A short command may end before we see it, and that is a success. The shim marks a command that could not be executed. */
function afterEnd(exit: ShellExit, main: ProcessIdentity | null, start: StartPlan): ProcessIdentity | null {
  const { folder, command } = start;
  if (existsSync(folder.unstarted)) {
    const what = `the command ${JSON.stringify(command[0])} could not be executed (status ${exit.code})`;
    throw new CurfewError('spawn_failed', `${what}; check its interpreter, and see ${folder.log}`);
  }
  if (main || exit.code === null) return main;
  const why =
    exit.code === SHIM_REFUSED
      ? 'another start has its claim, or the folder is not writable'
      : `its shim exited with status ${exit.code}${forkText(folder)}`;
  throw new CurfewError('spawn_failed', `the worker in ${folder.path} did not start: ${why}`);
}

/** The shim exits without the command's pid when it cannot fork. Its own message goes nowhere. */
function forkText({ pid }: WorkerFolder): string {
  return !existsSync(pid) && isProcessLimitNear() ? `, because it could not fork; ${whyNoFork()}` : '';
}

function readPid(folder: WorkerFolder, bootId: string): ProcessIdentity | null {
  if (!existsSync(folder.pid)) return null;
  const text = readFileSafelySync(folder.pid, FILES.smallBytes);
  const stat = text.endsWith('\n') ? parseStat(text) : null;
  return stat && { bootId, pid: stat.pid, startTicks: stat.startTicks };
}

/** Between fork and exec the child still has the shim's arguments. */
function isCommand(proc: ProcTable, main: ProcessIdentity): boolean {
  if (!findAlive(proc, main)) return false;
  const cmdline = proc.cmdline(main.pid);
  return cmdline !== null && cmdline !== '' && !cmdline.startsWith(SHIM_CMDLINE);
}

function tooSlow(start: StartPlan): CurfewError {
  const what = JSON.stringify(start.command[0]);
  return new CurfewError('spawn_failed', `the command ${what} did not run within ${WORKERS.spawnMs} ms`);
}
