/** The state that the Workers adapter keeps for one worker. */
import type { WorkerId } from '../../core/ids.ts';
import type { ProcessIdentity, WorkerProcess } from '../../core/model/worker.ts';
import type { WorkerFolder } from './folder/worker-folder.ts';
import { RecordFile } from './folder/worker-folder.ts';
import type { Shim } from './start/spawn-shim.ts';
import type { TreeReaper } from './tree/tree-reaper.ts';

/** Exists from the shim's start until the worker is forgotten and its tree is gone. */
export interface TrackedWorker {
  readonly id: WorkerId;
  readonly folder: WorkerFolder;
  readonly shim: Shim;
  readonly cgroup: string | null;
  readonly reaper: TreeReaper;
  readonly record: RecordFile;
  /** `null`: the command is not known to run yet. */
  process: WorkerProcess | null;
  /** The process that the liveness probe checks. `null`: the command is not known to run, or its pid was lost. */
  main: ProcessIdentity | null;
  /** True: its spawn or adoption has succeeded, so the listener gets its events. */
  announced: boolean;
  /** True: the listener knows the exit. */
  exited: boolean;
  /** True: the session needs it no more. */
  forgotten: boolean;
  /** Liveness probes in a row that did not find `main`. */
  missedProbes: number;
}

export function newTrackedWorker(
  found: Pick<TrackedWorker, 'id' | 'folder' | 'shim' | 'cgroup' | 'reaper'>,
): TrackedWorker {
  const state = {
    process: null,
    main: null,
    announced: false,
    exited: false,
    forgotten: false,
    missedProbes: 0,
  };
  return { ...found, record: new RecordFile(found.folder), ...state };
}

/** Where the main process is not known, TERM goes to all. */
export function orderSignal(
  entry: TrackedWorker | null | undefined,
  signal: 'SIGTERM' | 'SIGKILL',
  to?: 'main',
): void {
  const main = to === 'main' && signal === 'SIGTERM' ? (entry?.process?.main ?? null) : null;
  if (main === null) entry?.reaper.signal(signal);
  else entry?.reaper.terminate(main);
}
