/** Stores the job id of a worker for the next supervisor. Because: agents-js does not send its job after a reconnect. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import { OPEN_FLAGS, readFileSafely } from '../../../lib/safe-files.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';

export interface JobFile {
  /** Never throws. A failed write is logged, and the call continues. */
  save(id: WorkerId, jobId: string): void;
  /** `null`: no job is known. Never rejects, and resolves within `WORKERS.folderMs`. */
  load(id: WorkerId): Promise<string | null>;
}

export function createJobFile({ workersDir }: Instance, log: Log): JobFile {
  const pathOf = (id: WorkerId) => join(workersDir, id, STAND_IN.jobFile);
  return {
    save: (id, jobId) => {
      writeFile(pathOf(id), `${jobId}\n`, { mode: 0o600, flag: OPEN_FLAGS.replace }).catch((error: unknown) =>
        log.warn(
          { worker: id, error: messageOf(error) },
          "the agent's job id could not be written; after a restart of curfew the job may be unknown",
        ),
      );
    },
    load: async (id) => {
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
