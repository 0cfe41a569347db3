/** Finds the cgroup of a worker that was started earlier. The worker's folder is no proof, because the worker can write to it. */
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { FILES } from '../../../lib/limits/worker-limits.ts';
import { readFileSafelySync } from '../../../lib/safe-files.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';
import type { Cgroups } from '../../../process/cgroup.ts';
import { isGroupOf } from '../../../process/cgroup.ts';
import type { WorkerFolder } from './worker-folder.ts';

export interface WorkerHost {
  readonly instance: Instance;
  readonly log: Log;
  readonly cgroups?: Cgroups | null;
}

/**
 * First the path where this supervisor would have created it, if that exists.
 * The supervisor that started the worker may have run elsewhere in the hierarchy, so the file in the folder comes next.
 * The file counts only if it names a cgroup of exactly this worker.
 * `null`: no cgroup was found. Then process group and mark find the worker's processes. Never throws.
 */
export function findCgroup(workerId: WorkerId, folder: WorkerFolder, host: WorkerHost): string | null {
  const { instance, log, cgroups } = host;
  const expected = cgroups?.find(workerId) ?? null;
  if (expected !== null) return expected;
  try {
    const path = readFileSafelySync(folder.cgroup, FILES.smallBytes).trimEnd();
    if (isGroupOf(path, { instanceId: instance.id, workerId })) return path;
    log.warn(
      { worker: workerId },
      "the file `cgroup` in the worker's folder names another cgroup; curfew ignores it",
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    log.warn(
      { worker: workerId, error: messageOf(error) },
      "the file `cgroup` in the worker's folder cannot be read; curfew finds its processes by group and mark",
    );
  }
  return null;
}
