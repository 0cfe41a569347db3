/** A worker that a supervisor before this one started: found by its folder and its identity. */
import { existsSync, watch } from 'node:fs';
import type { ProcessIdentity, WorkerProcess } from '../../../core/model/worker.ts';
import { watchCgroup } from '../../../process/cgroup.ts';
import { parseStat } from '../../../process/proc-files.ts';
import type { WorkerFolder } from '../folder/worker-folder.ts';
import { readSmall, readStatus, takeClaim } from '../folder/worker-folder.ts';
import type { ShellExit, Shim } from './spawn-shim.ts';

/** Null: it never began and never will, its claim is ours; or it was of another boot, of which nothing lives. */
export async function findStarted(
  folder: WorkerFolder,
  bootId: string,
  known: WorkerProcess | null,
): Promise<WorkerProcess | null> {
  if (known !== null) return known.shim.bootId === bootId ? known : null;
  if (await takeClaim(folder)) return null;
  const shim = await claimedBy(folder, bootId);
  // An empty claim is that of a recovery before this one, which died after it.
  return shim?.bootId !== bootId ? null : { shim, main: identityOf(await readSmall(folder.pid), bootId) };
}

/** The shim that took the claim, of whatever boot; null: none did. */
export async function claimedBy(folder: WorkerFolder, bootId: string): Promise<ProcessIdentity | null> {
  return identityOf(await readSmall(folder.claim), bootId);
}

/** The files hold a line of /proc/PID/stat and the boot's id; without one, as older versions wrote it, they are taken for this boot's. */
function identityOf(line: string | null, bootId: string): ProcessIdentity | null {
  const stat = line === null ? null : parseStat(line);
  const written = / boot=(\S+)\s*$/.exec(line ?? '')?.[1];
  return stat === null ? null : { bootId: written ?? bootId, pid: stat.pid, startTicks: stat.startTicks };
}

const STATUS_LOOKS_MS = [1, 10, 50, 250];

/**
 * Not our child: its end is seen by its status file appearing or its cgroup emptying, and at worst by the next look at its identity.
 * `ended` says nothing of the status: it is in the folder.
 */
export function adoptedShim(
  identity: ProcessIdentity,
  { folder, cgroup }: { folder: WorkerFolder; cgroup: string | null },
): Shim {
  let exit: ShellExit | null = null;
  const stops: (() => void)[] = [];
  const leave = () => {
    for (const stop of stops.splice(0)) stop();
  };
  const ended = new Promise<ShellExit>((resolve) => {
    const look = () => {
      if (exit !== null || !existsSync(folder.status)) return;
      void readStatus(folder).then((status) => {
        if (status === null || exit !== null) return;
        exit = { code: null, signal: null };
        leave();
        resolve(exit);
      });
    };
    // The group empties a moment before the shim has written the status.
    const lookSoon = () => {
      for (const waitMs of STATUS_LOOKS_MS) setTimeout(look, waitMs).unref();
    };
    stops.push(cgroup === null ? watchFolder(folder.path, look) : watchCgroup(cgroup, lookSoon));
    look();
  });
  return { identity, ended, exit: () => exit, leave };
}

/** Where it cannot be watched (no more inotify instances), the look each second is left. */
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
