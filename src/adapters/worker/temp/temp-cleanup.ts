/**
 * Finds temporary folders that a crash of a supervisor left, and removes them.
 * A folder of this instance goes when no process of its worker lives. Folders of another instance go only when its state
 * directory is gone, too, as seen from the same place.
 */
import { existsSync } from 'node:fs';
import type { WorkerId } from '../../../core/ids.ts';
import { workerId } from '../../../core/ids.ts';
import type { Cgroups } from '../../../process/cgroup.ts';
import { cgroupPids } from '../../../process/cgroup.ts';
import type { ProcTable } from '../../../process/proc-files.ts';
import type { Scanner } from '../../../process/process-scan.ts';
import { createScanner } from '../../../process/process-scan.ts';
import { removeTree } from './remove-tree.ts';
import type { TempFolders } from './temp-folders.ts';
import { tempNameOf } from './temp-folders.ts';
import type { TempOwner } from './temp-root.ts';
import { listTempRoots } from './temp-root.ts';

interface TempCleanup {
  readonly temp: TempFolders;
  readonly scanner: Scanner;
  readonly cgroups: Cgroups | null;
  /** The workers that this supervisor starts or tracks. Asked after the scan. */
  readonly known: () => Iterable<WorkerId>;
}

/** Resolves with the number of removed folders. */
export async function removeLeftFolders({ temp, scanner, cgroups, known }: TempCleanup): Promise<number> {
  const listed = await temp.list();
  if (listed.length === 0) return 0;
  const snapshot = await scanner.scan(0);
  // A process that the scan missed may use any of the folders.
  if (!snapshot.complete) return 0;
  const grouped = (cgroups?.list() ?? []).filter(({ path }) => cgroupPids(path).length > 0);
  const living = [
    ...[...snapshot.byMark.keys()].map(workerId),
    ...grouped.map((one) => workerId(one.workerId)),
    ...known(),
  ];
  const names = new Set(living.map(tempNameOf));
  return temp.removeLeft(listed, (name) => names.has(name));
}

/**
 * Removes what instances left whose state directory is gone. Resolves with the number of instances.
 * Because: another container can share `temp_dir`, and its state directory and processes cannot be seen from here.
 */
export async function removeForeignRoots(tempDir: string, own: TempOwner, proc: ProcTable): Promise<number> {
  let removed = 0;
  for (const { path, owner } of await listTempRoots(tempDir)) {
    if (owner.instance === own.instance || !isSamePlace(owner, own) || existsSync(owner.stateDir)) continue;
    const { complete, byMark } = await createScanner(proc, `CURFEW_WORKER=${owner.instance}/`).scan(0);
    if (complete && byMark.size === 0 && (await removeTree(path)) === null) removed += 1;
  }
  return removed;
}

function isSamePlace({ place }: TempOwner, own: TempOwner): boolean {
  return place !== '' && place === own.place;
}
