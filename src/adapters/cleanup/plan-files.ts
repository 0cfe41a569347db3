/** Stores the plans of dry runs. The real run may come from another process. */
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import { z } from 'zod';
import { instanceId, isWorkerName, sessionId, workerId } from '../../core/ids.ts';
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import { OPEN_FLAGS, readFileSafely } from '../../lib/safe-files.ts';
import type { CleanupPlan, CleanupPlans } from '../../ports/cleanup-plans.ts';

const memberSchema = z.object({
  pid: z.int().min(2),
  startTicks: z.int().min(0),
  evidence: z.enum(['cgroup', 'group', 'mark', 'descent', 'shim', 'pattern']),
  leader: z.int().nullable(),
  ageMs: z.number(),
  command: z.string(),
  rssBytes: z.number(),
  own: z.boolean(),
  livekit: z.boolean().nullable(),
});

const planSchema = z.object({
  id: z.string(),
  madeAtWallMs: z.number(),
  bootId: z.string(),
  verdicts: z.array(
    z.object({
      kind: z.enum(['orphan', 'overdue', 'stuck', 'doubled', 'unmanaged', 'abandoned']),
      action: z.enum(['kill', 'leave']),
      why: z.string(),
      workerId: z.string().refine(isWorkerName).transform(workerId).nullable(),
      session: z.string().transform(sessionId).nullable(),
      room: z.string().nullable(),
      members: z.array(memberSchema),
      instance: z
        .object({
          id: z.string().transform(instanceId),
          stateDir: z.string().nullable(),
        })
        .exactOptional(),
    }),
  ),
});

const SAFE_ID = /^[0-9a-f]{1,64}$/;

export function createPlanFiles(dir: string): CleanupPlans {
  const pathOf = (id: string) => join(dir, `${id}.json`);
  return {
    save: (plan) =>
      bounded(
        (async () => {
          await mkdir(dir, { recursive: true, mode: 0o700 });
          await removeOld(dir);
          const path = pathOf(plan.id);
          await writeFile(`${path}.tmp`, JSON.stringify(plan), { mode: 0o600, flag: OPEN_FLAGS.replace });
          await rename(`${path}.tmp`, path);
        })(),
      ),
    load: async (id) => {
      if (!SAFE_ID.test(id)) return null;
      const text = await bounded(readFileSafely(pathOf(id), CLEANUP.planBytes)).catch(() => null);
      const plan = text === null ? null : parse(text);
      return plan?.id === id && Date.now() - plan.madeAtWallMs <= CLEANUP.planMs ? plan : null;
    },
  };
}

/** `null`: the text is not a plan. */
function parse(text: string): CleanupPlan | null {
  try {
    return planSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

async function removeOld(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const path = join(dir, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > CLEANUP.planMs) await rm(path, { force: true });
  }
}

function bounded<T>(work: Promise<T>): Promise<T> {
  return pTimeout(work, { milliseconds: CLEANUP.planFileMs });
}
