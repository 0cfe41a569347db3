/** A worker by the stage of its life. Each stage has only its own facts. */
import type { Stamp, WorkerId } from '../ids.ts';

/** Tells one process from every other, because pids are reused. `startTicks` is field 22 of /proc/PID/stat. */
export interface ProcessIdentity {
  readonly bootId: string;
  readonly pid: number;
  readonly startTicks: number;
}

/** The worker's command and the shim that waits for it. The pid of `main` is public. */
export interface WorkerProcess {
  readonly main: ProcessIdentity | null;
  readonly shim: ProcessIdentity;
}

/** `code` and `signal` both null: the process is gone, and its status is unknown. */
export interface ExitInfo {
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: Stamp;
  /** The kernel killed a process of the worker at its memory limit. */
  readonly oomKilled?: true;
}

/** `none`: it never connected. `lost`: it was connected. */
export type Channel = 'none' | 'open' | 'lost';

interface Start {
  readonly id: WorkerId;
  /** 1 for the first, one more for each replacement. */
  readonly attempt: number;
  readonly spawnedAt: Stamp;
  /** The worker must be ready by then; null: it is ready. */
  readonly readyByMs: number | null;
}

/** `failed`: the warm worker said before it was ready that it cannot do its job. null: the worker was started for its session. */
interface Origin {
  readonly warm: 'sound' | 'failed' | null;
}

/** The spawn is under way. Race: the worker can connect before its process is known. */
export interface LaunchingWorker extends Start {
  readonly stage: 'launching';
  readonly channel: Channel;
}

export interface RunningWorker extends Start, Origin {
  readonly stage: 'running';
  readonly process: WorkerProcess;
  readonly channel: Channel;
}

/** Its own process has ended, and its descendants may live. Race: its connection closes a moment later. */
export interface ExitedWorker extends Start, Origin {
  readonly stage: 'exited';
  /** null: the process ended before it was known. */
  readonly process: WorkerProcess | null;
  readonly exit: ExitInfo;
  readonly channel: Channel;
}

/** Its whole tree is gone, or it was never started. */
export interface GoneWorker extends Start, Origin {
  readonly stage: 'gone';
  /** null: it was never started, or the process was never known. */
  readonly process: WorkerProcess | null;
  /** null: it was never started. Race: or its exit is reported after its tree. */
  readonly exit: ExitInfo | null;
}

export type Worker = LaunchingWorker | RunningWorker | ExitedWorker | GoneWorker;

export function isTreeGone(worker: Worker): worker is GoneWorker {
  return worker.stage === 'gone';
}

export function isWarm(worker: Worker): boolean {
  return worker.stage !== 'launching' && worker.warm !== null;
}

export function hasFailed(worker: Worker): boolean {
  return worker.stage !== 'launching' && worker.warm === 'failed';
}

/** null: no process is known. */
export function processOf(worker: Worker | null): WorkerProcess | null {
  return worker === null || worker.stage === 'launching' ? null : worker.process;
}

/** null: no exit is known. */
export function exitOf(worker: Worker | null): ExitInfo | null {
  return worker?.stage === 'exited' || worker?.stage === 'gone' ? worker.exit : null;
}

export function channelOf(worker: Worker | null): Channel {
  return worker === null || worker.stage === 'gone' ? 'none' : worker.channel;
}

export function withProcess(worker: Worker, process: WorkerProcess): Worker {
  return worker.stage === 'launching'
    ? { ...worker, stage: 'running', process, warm: null }
    : { ...worker, process };
}

/** The first report of an exit counts. */
export function withExit(worker: Worker, exit: ExitInfo): Worker {
  switch (worker.stage) {
    case 'launching':
      return { ...worker, stage: 'exited', process: null, exit, warm: null };
    case 'running':
      return { ...worker, stage: 'exited', exit };
    case 'exited':
      return worker;
    case 'gone':
      return { ...worker, exit: worker.exit ?? exit };
  }
}

export function withTreeGone(worker: Worker): GoneWorker {
  const { id, attempt, spawnedAt, readyByMs } = worker;
  const warm = worker.stage === 'launching' ? null : worker.warm;
  const process = processOf(worker);
  return { stage: 'gone', id, attempt, spawnedAt, readyByMs, warm, process, exit: exitOf(worker) };
}

export function withChannel(worker: Worker, channel: Channel): Worker {
  return worker.stage === 'gone' ? worker : { ...worker, channel };
}
