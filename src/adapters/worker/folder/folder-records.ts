/** Reads the records in the workers' folders. They are enough to continue when the database is lost. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import { z } from 'zod';
import { asSession } from '../../../core/admission/stored-record.ts';
import { isWorkerName, workerId } from '../../../core/ids.ts';
import type { Profile } from '../../../core/model/profile.ts';
import type { Session } from '../../../core/model/session.ts';
import type { WorkerProcess } from '../../../core/model/worker.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { FILES, WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { WarmRecord, WorkerRecords } from '../../../ports/worker-records.ts';
import { folderOf, readSmall } from './worker-folder.ts';

const identity = z.object({ bootId: z.string(), pid: z.number(), startTicks: z.number() });
const recordSchema = z.object({
  session: z.unknown(),
  process: z.object({ main: identity.nullable(), shim: identity }).optional(),
});

export function createWorkerRecords(workersDir: string): WorkerRecords {
  return {
    list: async () => {
      const names = await pTimeout(readdir(workersDir), { milliseconds: WORKERS.folderMs }).catch(() => []);
      return names.filter(isWorkerName).map(workerId);
    },
    read: async (id) => parse(await readSmall(folderOf(workersDir, id).record, FILES.recordBytes)),
    readWarm: async (id) => {
      const { record, path } = folderOf(workersDir, id);
      const warm = parseWarm(await readSmall(record, FILES.recordBytes));
      return warm && { ...warm, isSpent: warm.isSpent || existsSync(join(path, STAND_IN.jobFile)) };
    },
  };
}

const warmSchema = z.object({
  /** Not checked further, because curfew itself wrote it. */
  warm: z.object({
    profile: z.custom<unknown>((value) => value !== null && typeof value === 'object'),
    retired: z.literal(true).optional(),
    zygote: z.string().transform(workerId).optional(),
  }),
  process: z.object({ main: identity.nullable(), shim: identity }).optional(),
});

function parseWarm(text: string | null): WarmRecord | null {
  if (text === null) return null;
  try {
    const found = warmSchema.safeParse(JSON.parse(text));
    if (!found.success) return null;
    const { profile, retired = false, zygote } = found.data.warm;
    return {
      profile: profile as Profile,
      process: found.data.process ?? null,
      isSpent: retired,
      ...(zygote !== undefined && { zygote }),
    };
  } catch {
    return null;
  }
}

function parse(text: string | null): { session: Session; process: WorkerProcess | null } | null {
  if (text === null) return null;
  try {
    const found = recordSchema.safeParse(JSON.parse(text));
    const session = found.success ? asSession(found.data.session) : null;
    return session && { session, process: found.data?.process ?? null };
  } catch {
    return null;
  }
}
