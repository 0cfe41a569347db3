/** A worker that is asked for and not known (any more): whether anything of it lives, by its folder, its cgroup and its mark. */
import type { WorkerId } from '../../core/ids.ts';
import type { ProcessIdentity } from '../../core/model/worker.ts';
import { cgroupPids } from '../../process/cgroup.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { isDead } from '../../process/proc-files.ts';
import type { Scanner } from '../../process/process-scan.ts';
import type { Self } from '../../process/process-tree.ts';
import { lookAtTree } from '../../process/process-tree.ts';
import { findGroup } from './folder/find-cgroup.ts';
import { folderOf } from './folder/worker-folder.ts';
import { claimedBy } from './start/adopt-shim.ts';
import type { WorkersOptions } from './workers-options.ts';

const NOBODY: ProcessIdentity = { bootId: '', pid: -1, startTicks: -1 };

interface Means {
  readonly options: Pick<WorkersOptions, 'instance' | 'log'>;
  readonly proc: ProcTable;
  readonly scanner: Scanner;
  readonly self: Self;
}

/** One that lives, or of which nothing is certain, is named and left. Never rejects. */
export async function isGone(id: WorkerId, means: Means): Promise<boolean> {
  const gone = await look(id, means).catch(() => false);
  if (!gone)
    means.options.log.error(
      { worker: id },
      'a worker that is not known here may still live; it is left: see `curfew cleanup`',
    );
  return gone;
}

async function look(id: WorkerId, { options, proc, scanner, self }: Means): Promise<boolean> {
  const { workersDir, bootId } = options.instance;
  const folder = folderOf(workersDir, id);
  const claimed = await claimedBy(folder, bootId);
  const shim = claimed?.bootId === bootId ? claimed : null;
  const cgroup = findGroup(id, folder, options);
  const snapshot = await scanner.scan(0);
  const inside = (cgroup === null ? [] : cgroupPids(cgroup)).flatMap((pid) => proc.stat(pid) ?? []);
  // Nobody is ended by this: whoever has the number may be of the worker.
  const subject = { workerId: id, shim: shim ?? NOBODY, known: new Map(), groupHeld: true };
  const tree = lookAtTree(snapshot, subject, { self, inside: inside.filter((one) => !isDead(one)) });
  return tree.complete && tree.members.length === 0 && tree.shim === null;
}
