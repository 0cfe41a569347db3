/** Finds the folder in which a worker's metrics lie. */
import type { WorkerId } from '../../../core/ids.ts';
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { METRICS } from '../../../lib/limits/metric-limits.ts';
import type { ProcTable } from '../../../process/proc-files.ts';
import { findAlive } from '../../../process/proc-files.ts';
import type { TempFolders } from '../temp/temp-folders.ts';

interface MetricsFolder {
  readonly path: string;
  /** Only the worker sees the folder, so it goes with the worker's last process. */
  readonly isForeign: boolean;
}

/** `main`: the worker's main process. `null`: the worker has no folder, or the folder is gone. */
export async function findMetrics(
  id: WorkerId,
  temp: TempFolders | null,
  main: ProcessIdentity | null,
  proc: ProcTable,
): Promise<MetricsFolder | null> {
  const path = await temp?.find(id);
  if (path != null) return { path: `${path}/${METRICS.folder}`, isForeign: false };
  // Because: systemd gives each start of the supervisor a /tmp of its own, and a worker from before keeps its own.
  const isAlive = main !== null && findAlive(proc, main) !== null;
  const own = isAlive ? await temp?.find(id, `/proc/${main.pid}/root`) : null;
  return own == null ? null : { path: `${own}/${METRICS.folder}`, isForeign: true };
}
