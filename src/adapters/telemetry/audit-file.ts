/** The audit file: one JSON line for every change that a person caused. Only ever appended to. */
import type { FileHandle } from 'node:fs/promises';
import { constants, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pTimeout from 'p-timeout';
import { messageOf } from '../../lib/errors.ts';
import { AUDIT, STATE_FILES } from '../../lib/limits/storage-limits.ts';
import type { Audit, AuditEntry } from '../../ports/audit.ts';
import type { Log } from '../../ports/log.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

/** Lines come in the order of the calls, one at a time: a disk that hangs holds up one of Node's few threads, not all. */
export function createAudit(stateDir: string, log: Log): Audit {
  const path = join(stateDir, STATE_FILES.audit);
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  // What was asked is done all the same: a full disk must not keep a person from ending a call.
  const unwritten = ({ request: _private, ...entry }: AuditEntry, why: string) =>
    log.error({ path, error: why, entry }, 'the audit file could not be written');

  return {
    write: (entry) => {
      if (waiting >= AUDIT.waiting) {
        unwritten(entry, `${waiting} lines wait already`);
        return Promise.resolve();
      }
      const line = JSON.stringify({ time: new Date().toISOString(), pid: process.pid, ...entry });
      waiting += 1;
      last = last
        .then(() => append(path, line))
        .catch((error: unknown) => unwritten(entry, messageOf(error)))
        .finally(() => {
          waiting -= 1;
        });
      const late = () => unwritten(entry, `not within ${AUDIT.writeMs} ms`);
      return pTimeout(last, { milliseconds: AUDIT.writeMs, fallback: late });
    },
  };
}

/** Opened anew for each line, so that a rotation of the file is no fault. */
async function append(path: string, line: string): Promise<void> {
  const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error('it is not a plain file');
    if (found.size === 0) await giveToOwner(file, dirname(path));
    await writeWhole(file, Buffer.from(`${(await isTorn(file)) ? '\n' : ''}${line}\n`));
  } finally {
    await file.close();
  }
}

/** In one piece, between two of other processes: `appendFile` would cut what is long. */
async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  const { bytesWritten } = await file.write(bytes);
  if (bytesWritten < bytes.length)
    throw new Error(`the disk took ${bytesWritten} of ${bytes.length} bytes: is it full?`);
}

/** A disk that was full may have taken half of a line. It looks the same while another process is just writing one. */
async function isTorn(file: FileHandle): Promise<boolean> {
  const end = Buffer.alloc(1);
  for (let looks = 0; looks < AUDIT.lineEndChecks; looks++) {
    const { size, mode } = await file.stat();
    if (size === 0) return false;
    await file.read(end, 0, 1, size - 1);
    if (end.toString() === '\n') return false;
    // Linux changes a file's mode, be it to the same, only between two writes: half a line is whole after this.
    // Whoever may write but does not own the file cannot wait so, and risks an empty line.
    await file.chmod(mode & 0o7777).catch(() => undefined);
    if ((await file.stat()).size === size) return true;
  }
  return true;
}

/** A cleanup by root must not leave a file that the supervisor's own user cannot write. */
async function giveToOwner(file: FileHandle, dir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(dir);
  await file.chown(uid, gid);
}
