/** The audit file: one JSON line for every change that a person caused. Only ever appended to. */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import { messageOf } from '../errors.ts';
import { AUDIT, STATE_FILES } from '../limits.ts';
import type { Audit, Log } from '../ports.ts';

/** Opened anew for each line, so that a rotation of the file is no fault. Lines come in the order of the calls. */
export function createAudit(stateDir: string, log: Log): Audit {
  const path = join(stateDir, STATE_FILES.audit);
  let last: Promise<void> = Promise.resolve();
  return {
    write: (entry) => {
      const line = `${JSON.stringify({ time: new Date().toISOString(), pid: process.pid, ...entry })}\n`;
      last = last.then(async () => {
        try {
          await pTimeout(appendFile(path, line, { mode: 0o600 }), { milliseconds: AUDIT.writeMs });
        } catch (error) {
          // What was asked is done all the same: a full disk must not keep a person from ending a call.
          log.error({ path, error: messageOf(error), entry }, 'the audit file could not be written');
        }
      });
      return last;
    },
  };
}
