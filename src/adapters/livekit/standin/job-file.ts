/** Which job a worker has, for the supervisor after this one: agents-js does not say it when it connects again. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import { readFileSafely, WRITE_FLAGS } from '../../../lib/safe-files.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';

export interface JobFile {
  /** Never throws: what could not be written is logged, and the call goes on. */
  keep(id: WorkerId, jobId: string): void;
  /** Null: none that is known. Bounded. */
  recall(id: WorkerId): Promise<string | null>;
}

export function createJobFile({ workersDir }: Instance, log: Log): JobFile {
  const pathOf = (id: WorkerId) => join(workersDir, id, STAND_IN.jobFile);
  return {
    keep: (id, jobId) => {
      writeFile(pathOf(id), `${jobId}\n`, { mode: 0o600, flag: WRITE_FLAGS }).catch((error: unknown) =>
        log.warn({ worker: id, error: messageOf(error) }, "the agent's job could not be noted"),
      );
    },
    recall: async (id) => {
      try {
        const text = await pTimeout(readFileSafely(pathOf(id), FILES.smallBytes), {
          milliseconds: WORKERS.folderMs,
        });
        return text.endsWith('\n') ? text.trim() : null;
      } catch {
        return null;
      }
    },
  };
}
