/** The audit file: one JSON line for each change that a person caused. Lines are only appended. */
import type { FileHandle } from 'node:fs/promises';
import { constants, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pTimeout from 'p-timeout';
import { messageOf } from '../../lib/errors.ts';
import { AUDIT, STATE_FILES } from '../../lib/limits/storage-limits.ts';
import type { Audit, AuditEntry } from '../../ports/audit.ts';
import type { Log } from '../../ports/log.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

/**
 * Writes lines in the order of the calls, one at a time. So a disk that hangs blocks only one of Node's few threads.
 * `write` never rejects, and resolves within `AUDIT.writeMs`.
 */
export function createAudit(stateDir: string, log: Log): Audit {
  const path = join(stateDir, STATE_FILES.audit);
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  // A failed write does not stop the request: with a full disk a person must still be able to end a call.
  const unwritten = ({ request: _private, ...entry }: AuditEntry, why: string) =>
    log.error({ path, error: why, entry }, 'the audit file could not be written');

  return {
    write: (entry) => {
      if (waiting >= AUDIT.waiting) {
        unwritten(entry, `${waiting} lines are waiting already`);
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
      const late = () => unwritten(entry, `the write took longer than ${AUDIT.writeMs} ms`);
      return pTimeout(last, { milliseconds: AUDIT.writeMs, fallback: late });
    },
  };
}

/** Opens the file for each line, so that the file may be rotated at any time. */
async function append(path: string, line: string): Promise<void> {
  const file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error('the path is not a plain file');
    if (found.size === 0) await giveToOwner(file, dirname(path));
    await writeWhole(file, Buffer.from(`${(await isTorn(file)) ? '\n' : ''}${line}\n`));
  } finally {
    await file.close();
  }
}

/** Race: other processes append too. One write keeps the line whole; `appendFile` would split a long line. */
async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  const { bytesWritten } = await file.write(bytes);
  if (bytesWritten < bytes.length)
    throw new Error(`the disk took only ${bytesWritten} of ${bytes.length} bytes; check whether it is full`);
}

/** True: the last line is incomplete, because the disk was full. A line that is being written looks the same at first. */
async function isTorn(file: FileHandle): Promise<boolean> {
  const end = Buffer.alloc(1);
  for (let checks = 0; checks < AUDIT.lineEndChecks; checks++) {
    const { size, mode } = await file.stat();
    if (size === 0) return false;
    await file.read(end, 0, 1, size - 1);
    if (end.toString() === '\n') return false;
    // Race: another process may be writing this line. Linux changes a file's mode only between two writes.
    // So after this chmod, even to the same mode, that write is complete.
    // A process that does not own the file cannot wait like this, and may add an empty line.
    await file.chmod(mode & 0o7777).catch(() => undefined);
    if ((await file.stat()).size === size) return true;
  }
  return true;
}

/** Root may run `curfew cleanup`. The supervisor's own user must be able to write the new file afterwards. */
async function giveToOwner(file: FileHandle, dir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(dir);
  await file.chown(uid, gid);
}
