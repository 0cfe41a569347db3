/** Stores a running drain in the state directory. So a supervisor that crashes continues the drain after its start. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../lib/errors.ts';
import { STATE_FILES } from '../../lib/limits/storage-limits.ts';
import { FILES } from '../../lib/limits/worker-limits.ts';
import { readFileSafelySync, writeFileSafelySync } from '../../lib/safe-files.ts';
import type { DrainStore } from '../../ports/drain-store.ts';
import type { Log } from '../../ports/log.ts';

const recordSchema = z.object({
  by: z.object({ kind: z.enum(['token', 'local', 'supervisor']), name: z.string() }),
  at: z.object({ bootMs: z.number(), wallMs: z.number() }),
  untilMs: z.number().nullable(),
  bootId: z.string(),
});

/** A failed write does not stop the drain. It is logged, because a crash would then end the drain. */
export function createDrainStore(stateDir: string, log: Log): DrainStore {
  const path = join(stateDir, STATE_FILES.drain);
  const attempt = (work: () => void) => {
    try {
      work();
    } catch (error) {
      log.error(
        { path, error: messageOf(error) },
        'the state of the drain could not be written; after a restart the old state applies, so repeat the command',
      );
    }
  };
  return {
    read: () => {
      try {
        return recordSchema.parse(JSON.parse(readFileSafelySync(path, FILES.smallBytes, 'followed')));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          log.error(
            { path, error: messageOf(error) },
            'the drain file cannot be read: if a drain was running, repeat it, because new sessions are accepted',
          );
        return null;
      }
    },
    write: (record) =>
      attempt(() => {
        writeFileSafelySync(`${path}.new`, `${JSON.stringify(record)}\n`);
        renameSync(`${path}.new`, path);
      }),
    clear: () => attempt(() => rmSync(path, { force: true })),
  };
}
