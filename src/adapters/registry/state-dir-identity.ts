/** Whether a path still leads to the state directory that this supervisor holds, or to another one in its place. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { isSupervised, LOCK_FILE } from './instance-dir.ts';

export interface StateDirIdentity {
  readonly dir: string;
  readonly folder: string | null;
  readonly lock: string | null;
}

/** Known from when its lock was taken. */
export function stateDirIdentityAt(dir: string): StateDirIdentity {
  return { dir, folder: identityOf(dir), lock: identityOf(join(dir, LOCK_FILE)) };
}

/** Throws where another folder, or another supervisor, is there now. A lock that is only gone is nobody else's. */
export function checkSameStateDir({ dir, folder, lock }: StateDirIdentity): void {
  const now = stateDirIdentityAt(dir);
  if (now.lock !== null && now.lock === lock) return;
  const isTaken = isSupervised(dir);
  if (!isTaken && (now.folder === null || now.folder === folder)) return;
  const who = isTaken ? ': another supervisor has it' : '';
  throw new Error(
    `the state directory ${dir} was replaced${who}; nothing is put into it, and new calls are refused until the one of before is back`,
  );
}

function identityOf(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}
