/** A drain under way, in the state directory: a supervisor that crashes meanwhile goes on with it. */
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

/** A disk that cannot be written keeps nobody from draining; then a crash forgets it, and that is said. */
export function createDrainStore(stateDir: string, log: Log): DrainStore {
  const path = join(stateDir, STATE_FILES.drain);
  const attempt = (work: () => void) => {
    try {
      work();
    } catch (error) {
      log.error(
        { path, error: messageOf(error) },
        'the drain could not be recorded: it ends with this process',
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
            'whether a drain was under way cannot be read: new sessions are taken',
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
