/** The host's processes, for a cleanup. */
import type { WorkerId } from '../core/ids.ts';
import type { ProcessIdentity } from '../core/model/worker.ts';
import type { ForeignTree, ListedProcess, UnmanagedTree, Verdict } from '../core/workers/cleanup-verdict.ts';

/** One scan of every process of this host. */
export interface HostScan {
  /** Number of processes. */
  readonly scanned: number;
  /** Workers of this instance that have a process with their mark, or a cgroup. */
  readonly workerIds: readonly WorkerId[];
  /** Live processes of a worker's tree, including its shim, the oldest first. */
  treeOf(workerId: WorkerId, shim: ProcessIdentity | null): ListedProcess[];
  /** Pids that a cleanup must never end: this process and the one that asked, each with all its parents. */
  spared(askerPid: number | null): ReadonlySet<number>;
  /** Processes with a matching command that no curfew started, each with its descendants. */
  unmanaged(patterns: readonly string[], askerPid: number | null): UnmanagedTree[];
  /** Workers with the mark of another instance. */
  foreign(): ForeignTree[];
}

/** `gone`: already ended. `changed`: the pid belongs to another process now. `denied`: curfew may not signal the process. */
export type EndOutcome = 'ended' | 'gone' | 'changed' | 'denied' | 'survived';

export interface Ended {
  readonly pid: number;
  readonly startTicks: number;
  readonly outcome: EndOutcome;
}

export interface ProcessTable {
  scan(): Promise<HostScan>;
  /**
   * Sends TERM, then KILL, to exactly these processes. Checks each identity right before the signal. Bounded.
   * A worker of another instance gets no signal if that instance has a supervisor again.
   */
  end(targets: readonly Pick<Verdict, 'workerId' | 'members' | 'instance'>[]): Promise<Ended[]>;
  /** Removes workers' cgroups without a process. Returns the ids of these workers. */
  removeEmptyGroups(): WorkerId[];
}
