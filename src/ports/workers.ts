/** The workers' process trees. */
import type { WorkerId } from '../core/ids.ts';
import type { MemorySample } from '../core/memory-sample.ts';
import type { ForkOrder } from '../core/model/control-protocol.ts';
import type { Profile } from '../core/model/profile.ts';
import type { ExitInfo, WorkerProcess } from '../core/model/worker.ts';

/** The start of one worker. */
export interface SpawnRequest {
  readonly workerId: WorkerId;
  readonly profile: Profile;
  /** All variables beyond the small base that every worker gets. */
  readonly env: Readonly<Record<string, string>>;
  /** More of them, made from the variables that the worker has already. They win. */
  readonly envFrom?: (given: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
  /** Goes into the worker's folder before the spawn, for a recovery without the database. */
  readonly record: object;
  /**
   * Sends the order to the profile's zygote, which forks the worker. false: the zygote is not connected.
   * Absent: the worker starts cold. Without an answer in time it starts cold, too.
   */
  readonly fork?: (order: ForkOrder) => boolean;
  /** More variables for a worker that starts cold beside a zygote and shares a process of it. */
  readonly shared?: Readonly<Record<string, string>>;
  /** The zygote did not fork the worker, so it started cold. `why`: one line. */
  readonly forkFailed?: (why: string) => void;
}

export interface WorkersListener {
  exited(workerId: WorkerId, exit: ExitInfo): void;
  /** Processes left in the tree, after an exit, a `signal` or a `reap`. 0 comes exactly once, as the last call. */
  tree(workerId: WorkerId, left: number): void;
  resources(workerId: WorkerId, memory: MemorySample, cpuPercent: number): void;
  /** The memory limit of this worker: near it a sample must be exact. null: none. */
  memoryLimit(workerId: WorkerId): number | null;
}

/** `exit`: the worker ended while no supervisor ran. null: it runs, or its end is not known yet. */
export interface Adopted {
  readonly process: WorkerProcess;
  readonly exit: ExitInfo | null;
}

/** `lines` and `bytes`: the reader was slow. `cutBytes`: the log was cut before curfew read these bytes. */
interface DroppedOutput {
  readonly lines: number;
  readonly bytes: number;
  readonly cutBytes: number;
}

/** The forwarding of workers' lines, besides their log files. */
export interface Forwarding {
  readonly to: 'stdout' | 'journald';
  /** Lines that wait for the reader. */
  readonly waitingBytes: number;
  /** Output that was not forwarded since the supervisor's start. */
  readonly dropped: DroppedOutput;
  /** The same of each living worker that has any. */
  readonly workers: readonly ({ readonly worker: string } & DroppedOutput)[];
  /** Why the last write failed. `null`: it did not. */
  readonly error: string | null;
}

/** Signals a process only by identity and mark, both checked right before the signal. */
export interface Workers {
  /** Resolves when the command runs and its pid is known. Rejects with CurfewError or a system error; then no process is left. */
  spawn(request: SpawnRequest): Promise<WorkerProcess>;
  /**
   * Adopts a worker of an earlier supervisor. The listener then gets its exit and tree like those of any worker.
   * `known` null: only the intent was recorded, so the claim file decides.
   * Resolves with null: the worker never started and never will, or it belongs to another boot.
   */
  adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null>;
  /** Absent `to`: each process of the tree. `to`: the main process alone. A later SIGTERM without it goes to the others alone. */
  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void;
  /** Scans for processes that a dead worker left, and reports their number. */
  reap(workerId: WorkerId): void;
  /** Replaces the record in the worker's folder, for a recovery without the database. */
  record(workerId: WorkerId, record: object): void;
  logPath(workerId: WorkerId): string;
  /** Appends one line of curfew to the worker's log. Never throws. The caller bounds the number of lines. */
  note(workerId: WorkerId, line: string): void;
  /** `null`: no log is forwarded. */
  forwarding(): Forwarding | null;
  /** The metrics of the agent's workers, live and ended, as text for Prometheus. */
  metricsOf(agent: string): Promise<string>;
  /** Forgets a worker without processes. Its folder stays for the retention. */
  forget(workerId: WorkerId): void;
  /** Removes workers' folders with a log older than this Unix time in milliseconds, except those in `keep`. */
  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number>;
  /** Reads the sizes of the logs of ended workers, so that their bound counts those of earlier supervisors. `keep`: not ended. */
  loadEndedLogs(keep: ReadonlySet<WorkerId>): Promise<void>;
  /** Removes temporary folders without a living worker. Resolves with their number. */
  removeLeftTemp(): Promise<number>;
  close(): Promise<void>;
}
