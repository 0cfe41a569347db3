/** Which cgroup a worker that was started before is in: by its folder, where the worker itself may have written. */
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { FILES } from '../../../lib/limits/worker-limits.ts';
import { readFileSafelySync } from '../../../lib/safe-files.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';
import type { Cgroups } from '../../../process/cgroup.ts';
import { isGroupOf } from '../../../process/cgroup.ts';
import type { WorkerFolder } from './worker-folder.ts';

interface Host {
  readonly instance: Instance;
  readonly log: Log;
  readonly cgroups?: Cgroups | null;
}

/**
 * Where this supervisor would have put it, if it is there. The one that started it may have sat elsewhere in the hierarchy, so the
 * file is asked next; it is believed only where it names a group of this very worker. Null: it has none. Never throws: without its
 * group a worker is held by its process group and mark.
 */
export function findGroup(workerId: WorkerId, folder: WorkerFolder, host: Host): string | null {
  const { instance, log, cgroups } = host;
  const expected = cgroups?.find(workerId) ?? null;
  if (expected !== null) return expected;
  try {
    const path = readFileSafelySync(folder.cgroup, FILES.smallBytes).trimEnd();
    if (isGroupOf(path, { instanceId: instance.id, workerId })) return path;
    log.warn({ worker: workerId }, "the file of a worker's cgroup names something else; it is not used");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    log.warn({ worker: workerId, error: messageOf(error) }, "the file of a worker's cgroup cannot be read");
  }
  return null;
}
