/** What the shell offers for upkeep: sweeps, drains, the audit. Bounded, as the other ports are. */
import type { Stamp, WorkerId } from './core/ids.ts';
import type { Author, ProcessIdentity } from './core/session.ts';
import type { Stranger, SweptProcess, Verdict } from './core/verdict.ts';

/** One look at every process of this host. */
export interface HostLook {
  readonly scanned: number;
  /** Workers of this instance of which a mark or a cgroup speaks. */
  readonly workerIds: readonly WorkerId[];
  /** What lives of a worker's tree, the oldest first, its shim included; empty: nothing. */
  treeOf(workerId: WorkerId, shim: ProcessIdentity | null): SweptProcess[];
  /** Who asks and who looks, each with all its parents. */
  spared(askerPid: number | null): ReadonlySet<number>;
  /** Processes whose command matches a pattern, that no curfew started, each with its descendants. */
  strangers(patterns: readonly string[], askerPid: number | null): Stranger[];
}

export type EndOutcome = 'ended' | 'gone' | 'changed' | 'denied' | 'survived';

export interface Ended {
  readonly pid: number;
  readonly startTicks: number;
  readonly outcome: EndOutcome;
}

/** The host's processes for a sweep. */
export interface ProcessTable {
  look(): Promise<HostLook>;
  /** TERM, then KILL, to exactly these; each is checked right before. Bounded. */
  end(targets: readonly Pick<Verdict, 'workerId' | 'members'>[]): Promise<Ended[]>;
  /** Removes cgroups of workers that nothing lives in; their ids. */
  removeEmptyGroups(): WorkerId[];
}

/** A dry run's verdicts as they were shown, for a real run that ends exactly those. */
export interface SweepPlan {
  readonly id: string;
  readonly madeAtWallMs: number;
  readonly bootId: string;
  readonly verdicts: readonly Verdict[];
}

export interface Plans {
  /** Forgets those that are too old. */
  save(plan: SweepPlan): Promise<void>;
  load(id: string): Promise<SweepPlan | null>;
}

export interface DrainRecord {
  readonly by: Author;
  readonly at: Stamp;
  /** When what is left is released; null: it waits as long as it takes. */
  readonly untilMs: number | null;
  readonly bootId: string;
}

/** None of these throws. */
export interface DrainStore {
  read(): DrainRecord | null;
  write(record: DrainRecord): void;
  clear(): void;
}

/** One change that a person caused. */
export interface AuditEntry {
  readonly action: 'release' | 'release_many' | 'cleanup' | 'drain' | 'undrain' | 'reload' | 'stop';
  readonly actor: string;
  /** By a token; a local user is only stated. */
  readonly verified: boolean;
  readonly source: 'socket' | 'tcp' | 'cli' | 'signal';
  readonly request: object;
  readonly targets: readonly object[];
  readonly outcome: 'done' | 'refused';
  readonly error: string | null;
}

export interface Audit {
  /** Never rejects: what could not be written is logged. */
  write(entry: AuditEntry): Promise<void>;
}
