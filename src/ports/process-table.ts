import type { WorkerId } from '../core/ids.ts';
import type { ProcessIdentity } from '../core/model/worker.ts';
import type { ListedProcess, UnmanagedTree, Verdict } from '../core/workers/cleanup-verdict.ts';

/** One look at every process of this host. */
export interface HostScan {
  readonly scanned: number;
  /** Workers of this instance of which a mark or a cgroup speaks. */
  readonly workerIds: readonly WorkerId[];
  /** What lives of a worker's tree, the oldest first, its shim included; empty: nothing. */
  treeOf(workerId: WorkerId, shim: ProcessIdentity | null): ListedProcess[];
  /** Who asks and who looks, each with all its parents. */
  spared(askerPid: number | null): ReadonlySet<number>;
  /** Processes whose command matches a pattern, that no curfew started, each with its descendants. */
  unmanaged(patterns: readonly string[], askerPid: number | null): UnmanagedTree[];
}

export type EndOutcome = 'ended' | 'gone' | 'changed' | 'denied' | 'survived';

export interface Ended {
  readonly pid: number;
  readonly startTicks: number;
  readonly outcome: EndOutcome;
}

/** The host's processes for a sweep. */
export interface ProcessTable {
  scan(): Promise<HostScan>;
  /** TERM, then KILL, to exactly these; each is checked right before. Bounded. */
  end(targets: readonly Pick<Verdict, 'workerId' | 'members'>[]): Promise<Ended[]>;
  /** Removes cgroups of workers that nothing lives in; their ids. */
  removeEmptyGroups(): WorkerId[];
}
