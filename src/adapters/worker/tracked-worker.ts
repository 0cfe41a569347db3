/** What the Workers adapter keeps of one worker. */
import type { WorkerId } from '../../core/ids.ts';
import type { ProcessIdentity, WorkerProcess } from '../../core/model/worker.ts';
import type { WorkerFolder } from './folder/worker-folder.ts';
import { RecordFile } from './folder/worker-folder.ts';
import type { Shim } from './start/spawn-shim.ts';
import type { TreeReaper } from './tree/tree-reaper.ts';

/** A worker from its shim's start until it is forgotten. */
export interface TrackedWorker {
  readonly id: WorkerId;
  readonly folder: WorkerFolder;
  readonly shim: Shim;
  readonly cgroup: string | null;
  readonly pursuit: TreeReaper;
  readonly record: RecordFile;
  /** Null: it is not known yet whether the command runs. */
  process: WorkerProcess | null;
  main: ProcessIdentity | null;
  /** Its spawn has resolved: the listener knows it. */
  announced: boolean;
  exited: boolean;
  forgotten: boolean;
  missedLooks: number;
}

export function newTrackedWorker(
  found: Pick<TrackedWorker, 'id' | 'folder' | 'shim' | 'cgroup' | 'pursuit'>,
): TrackedWorker {
  const state = {
    process: null,
    main: null,
    announced: false,
    exited: false,
    forgotten: false,
    missedLooks: 0,
  };
  return { ...found, record: new RecordFile(found.folder), ...state };
}
