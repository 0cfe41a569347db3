import type { WorkerId } from '../core/ids.ts';
import type { Profile } from '../core/model/profile.ts';
import type { ExitInfo, WorkerProcess } from '../core/model/worker.ts';

/** What a worker is started with. */
export interface SpawnRequest {
  readonly workerId: WorkerId;
  readonly profile: Profile;
  /** Complete environment beyond the small base that every worker gets. */
  readonly env: Readonly<Record<string, string>>;
  /** Written to the worker's folder before the spawn, for a recovery without the database. */
  readonly record: object;
}

export interface WorkersListener {
  exited(workerId: WorkerId, exit: ExitInfo): void;
  /** After an exit, a `signal` or a `reap`: how many processes of the tree are left. 0 exactly once, as the last word. */
  tree(workerId: WorkerId, left: number): void;
  resources(workerId: WorkerId, rssBytes: number, cpuPercent: number): void;
}

/** `exit`: it ended while no supervisor was there; null: it runs, or how it ended is not known yet. */
export interface Adopted {
  readonly process: WorkerProcess;
  readonly exit: ExitInfo | null;
}

/** Process trees. Nothing is signalled but by identity and mark, checked right before. */
export interface Workers {
  /** Resolves when the command runs (its pid is known); rejects with CurfewError or a system error, leaving nothing behind. */
  spawn(request: SpawnRequest): Promise<WorkerProcess>;
  /**
   * Takes over a worker of a supervisor before this one; its exit and tree are told as those of any other.
   * `known` null: only the intent was recorded; then the claim file decides.
   * Null: it was never started and never will be, or it was of another boot.
   */
  adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null>;
  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL'): void;
  reap(workerId: WorkerId): void;
  /** Rewrites what the worker's folder says of it, for a recovery without the database. */
  record(workerId: WorkerId, record: object): void;
  /** The path of the worker's log file. */
  logPath(workerId: WorkerId): string;
  /** Forgets a worker whose tree is gone; the folder stays for the retention. */
  forget(workerId: WorkerId): void;
  /** Removes folders of workers whose logs are older than the retention and not in `keep`. */
  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number>;
  close(): Promise<void>;
}
