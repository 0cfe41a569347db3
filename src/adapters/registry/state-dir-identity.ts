/** Checks that a path still leads to this supervisor's state directory, and not to another one in its place. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { isSupervised, LOCK_FILE } from './instance-dir.ts';

export interface StateDirIdentity {
  readonly dir: string;
  readonly folder: string | null;
  readonly lock: string | null;
}

/** Call it while this supervisor holds the lock. */
export function stateDirIdentityAt(dir: string): StateDirIdentity {
  return { dir, folder: identityOf(dir), lock: identityOf(join(dir, LOCK_FILE)) };
}

/** Throws if another folder or another supervisor has the path now. A missing lock file alone is harmless. */
export function checkSameStateDir({ dir, folder, lock }: StateDirIdentity): void {
  const now = stateDirIdentityAt(dir);
  if (now.lock !== null && now.lock === lock) return;
  const isTaken = isSupervised(dir);
  if (!isTaken && (now.folder === null || now.folder === folder)) return;
  const owner = isTaken ? ', and another supervisor uses it' : '';
  throw new Error(
    `the state directory ${dir} was replaced${owner}; curfew writes nothing there and refuses new calls; put the original back`,
  );
}

function identityOf(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}
