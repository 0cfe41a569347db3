/** A worker that a supervisor before this one started: found by its folder and its identity. */
import type { ProcessIdentity, WorkerProcess } from '../core/session.ts';
import { parseStat } from '../process/proc.ts';
import type { WorkerFolder } from './folder.ts';
import { readSmall, takeClaim } from './folder.ts';
import type { Shim } from './spawn.ts';

/** Null: it never began and never will, its claim is ours. */
export async function findStarted(
  folder: WorkerFolder,
  bootId: string,
  known: WorkerProcess | null,
): Promise<WorkerProcess | null> {
  if (known !== null) return known;
  if (await takeClaim(folder)) return null;
  const shim = identityOf(await readSmall(folder.claim), bootId);
  // An empty claim is that of a recovery before this one, which died after it.
  return shim === null ? null : { shim, main: identityOf(await readSmall(folder.pid), bootId) };
}

/** The files hold a line of /proc/PID/stat. */
function identityOf(line: string | null, bootId: string): ProcessIdentity | null {
  const stat = line === null ? null : parseStat(line);
  return stat === null ? null : { bootId, pid: stat.pid, startTicks: stat.startTicks };
}

/** Not our child: its end is seen by looking, and its status is in its folder. */
export function adoptedShim(identity: ProcessIdentity): Shim {
  return { identity, ended: new Promise(() => undefined), exit: () => null };
}
