/** Plans of dry runs, kept for the real run that may come from another process. */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import { SWEEP } from '../limits.ts';
import type { Plans, SweepPlan } from '../ports-upkeep.ts';

const SAFE_ID = /^[0-9a-f]{1,64}$/;

export function createPlans(dir: string): Plans {
  const pathOf = (id: string) => join(dir, `${id}.json`);
  return {
    save: (plan) =>
      bounded(
        (async () => {
          await mkdir(dir, { recursive: true, mode: 0o700 });
          await forgetOld(dir);
          const path = pathOf(plan.id);
          await writeFile(`${path}.tmp`, JSON.stringify(plan), { mode: 0o600 });
          await rename(`${path}.tmp`, path);
        })(),
      ),
    load: async (id) => {
      if (!SAFE_ID.test(id)) return null;
      const text = await bounded(readFile(pathOf(id), 'utf8')).catch(() => null);
      const plan = text === null ? null : (JSON.parse(text) as SweepPlan);
      return plan !== null && Date.now() - plan.madeAtWallMs <= SWEEP.planMs ? plan : null;
    },
  };
}

async function forgetOld(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const path = join(dir, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > SWEEP.planMs) await rm(path, { force: true });
  }
}

function bounded<T>(work: Promise<T>): Promise<T> {
  return pTimeout(work, { milliseconds: SWEEP.planFileMs });
}
