/** Finds out whether a process of an untracked worker lives. Sources: the worker's folder, its cgroup and its mark. */
import type { WorkerId } from '../../core/ids.ts';
import type { ProcessIdentity } from '../../core/model/worker.ts';
import { cgroupPids } from '../../process/cgroup.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { isDead } from '../../process/proc-files.ts';
import type { Scanner } from '../../process/process-scan.ts';
import type { Self } from '../../process/process-tree.ts';
import { resolveTree } from '../../process/process-tree.ts';
import type { WorkerHost } from './folder/find-cgroup.ts';
import { findCgroup } from './folder/find-cgroup.ts';
import { folderOf } from './folder/worker-folder.ts';
import { claimedBy } from './start/adopt-shim.ts';

const NO_SHIM: ProcessIdentity = { bootId: '', pid: -1, startTicks: -1 };

interface ProbeContext {
  readonly host: WorkerHost;
  readonly proc: ProcTable;
  readonly scanner: Scanner;
  readonly self: Self;
}

/** False: a process lives, or the state is unknown. Then the log names the worker, and nothing is killed. Never rejects. */
export async function isUntrackedGone(id: WorkerId, context: ProbeContext): Promise<boolean> {
  const gone = await probe(id, context).catch(() => false);
  if (!gone)
    context.host.log.error(
      { worker: id },
      'processes of an untracked worker may still live and were not ended; check them with `curfew cleanup`',
    );
  return gone;
}

async function probe(id: WorkerId, { host, proc, scanner, self }: ProbeContext): Promise<boolean> {
  const { workersDir, bootId } = host.instance;
  const folder = folderOf(workersDir, id);
  const claimed = await claimedBy(folder, bootId);
  const shim = claimed?.bootId === bootId ? claimed : null;
  const cgroup = findCgroup(id, folder, host);
  const snapshot = await scanner.scan(0);
  const inside = (cgroup === null ? [] : cgroupPids(cgroup)).flatMap((pid) => proc.stat(pid) ?? []);
  // The probe kills nothing, so a process with the group's number safely counts as the worker's.
  const subject = { workerId: id, shim: shim ?? NO_SHIM, known: new Map(), groupConfirmed: true };
  const tree = resolveTree(snapshot, subject, { self, inside: inside.filter((one) => !isDead(one)) });
  return tree.complete && tree.members.length === 0 && tree.shim === null;
}
