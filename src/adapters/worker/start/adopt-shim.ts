/** Adopts a worker that an earlier supervisor started. Finds it by its folder and its identity. */
import { existsSync, watch } from 'node:fs';
import type { ProcessIdentity, WorkerProcess } from '../../../core/model/worker.ts';
import { watchCgroup } from '../../../process/cgroup.ts';
import { parseStat } from '../../../process/proc-files.ts';
import type { WorkerFolder } from '../folder/worker-folder.ts';
import { readSmall, readStatus, takeClaim } from '../folder/worker-folder.ts';
import type { ShellExit, Shim } from './spawn-shim.ts';

/**
 * `null`: the worker does not run. Either it never started, and never will because this call took its claim.
 * Or it started before the last boot of the host.
 */
export async function findStartedWorker(
  folder: WorkerFolder,
  bootId: string,
  known: WorkerProcess | null,
): Promise<WorkerProcess | null> {
  if (known !== null) return known.shim.bootId === bootId ? known : null;
  if (await takeClaim(folder)) return null;
  const shim = await claimedBy(folder, bootId);
  // An empty claim is from an earlier recovery that died after it took the claim.
  return shim?.bootId !== bootId ? null : { shim, main: identityOf(await readSmall(folder.pid), bootId) };
}

/** The shim that took the claim, maybe before the last boot. `null`: no shim took it. */
export async function claimedBy(folder: WorkerFolder, bootId: string): Promise<ProcessIdentity | null> {
  return identityOf(await readSmall(folder.claim), bootId);
}

/**
 * Reads a line of /proc/PID/stat, followed by the boot id.
 * Older versions wrote no boot id. Such a line counts as one of this boot.
 */
function identityOf(line: string | null, bootId: string): ProcessIdentity | null {
  const stat = line === null ? null : parseStat(line);
  const written = / boot=(\S+)\s*$/.exec(line ?? '')?.[1];
  return stat === null ? null : { bootId: written ?? bootId, pid: stat.pid, startTicks: stat.startTicks };
}

const STATUS_READS_MS = [1, 10, 50, 250];

/**
 * An adopted shim is not our child. Its end shows when the status file appears or the cgroup becomes empty.
 * If both fail, the liveness probe finds it.
 * `ended` has no status: the status file contains it.
 */
export function adoptedShim(
  identity: ProcessIdentity,
  { folder, cgroup }: { folder: WorkerFolder; cgroup: string | null },
): Shim {
  let exit: ShellExit | null = null;
  const stops: (() => void)[] = [];
  const stopWatching = () => {
    for (const stop of stops.splice(0)) stop();
  };
  const ended = new Promise<ShellExit>((resolve) => {
    const check = () => {
      if (exit !== null || !existsSync(folder.status)) return;
      void readStatus(folder).then((status) => {
        if (status === null || exit !== null) return;
        exit = { code: null, signal: null };
        stopWatching();
        resolve(exit);
      });
    };
    // Race: the cgroup becomes empty a moment before the shim writes the status.
    const checkSoon = () => {
      for (const waitMs of STATUS_READS_MS) setTimeout(check, waitMs).unref();
    };
    stops.push(cgroup === null ? watchFolder(folder.path, check) : watchCgroup(cgroup, checkSoon));
    check();
  });
  return { identity, ended, exit: () => exit, stopWatching };
}

/** If the folder cannot be watched (no free inotify instance), the liveness probe of each second still finds the end. */
function watchFolder(path: string, onChange: () => void): () => void {
  try {
    const watcher = watch(path, { persistent: false }, (_event, name) => {
      if (name === 'status') onChange();
    });
    watcher.on('error', () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => undefined;
  }
}
