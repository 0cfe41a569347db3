/**
 * The folder below `temp_dir` that holds the temporary folders of one instance's workers.
 * Its name begins with `curfew-` and eight digits of the instance's id. `owner.json` in it names instance, state directory and place.
 */
import { readlinkSync } from 'node:fs';
import { lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { InstanceId } from '../../../core/ids.ts';
import { TEMP } from '../../../lib/limits/temp-limits.ts';
import { FILES } from '../../../lib/limits/worker-limits.ts';
import { readFileSafely, writeFileSafelySync } from '../../../lib/safe-files.ts';

export interface TempOwner {
  readonly instance: InstanceId;
  readonly stateDir: string;
  /** Where the instance's processes and state directory can be seen, as `placeOf` names it. */
  readonly place: string;
}

const ownerSchema = z.object({
  instance: z.string().transform((text) => text as InstanceId),
  stateDir: z.string(),
  // An owner without a place is seen from nowhere, so its folders stay.
  place: z.string().catch(''),
});

/**
 * Boot, and the namespaces of processes and mounts. Two containers of one host share the boot alone.
 * Then neither of them sees the other's processes and state directory.
 */
export function placeOf(bootId: string): string {
  try {
    return [bootId, ...['pid', 'mnt'].map((one) => readlinkSync(`/proc/self/ns/${one}`))].join(' ');
  } catch {
    // The kernel does not tell. Then no folder of another instance is removed.
    return '';
  }
}

const OWNER_FILE = 'owner.json';
const ROOT_NAME = new RegExp(`^${TEMP.prefix}[0-9a-f]{${TEMP.instanceChars}}(-\\d)?$`);

/**
 * The path of the instance's folder, which exists afterwards. Rejects where none can be made.
 * Another user of the host may have taken the first name. Then the next one serves.
 */
export async function makeTempRoot(tempDir: string, owner: TempOwner): Promise<string> {
  await mkdir(tempDir, { recursive: true, mode: 0o700 });
  let failure: unknown = null;
  for (const path of rootsOf(tempDir, owner.instance)) {
    try {
      await mkdir(path, { mode: 0o700 }).catch(async (error: unknown) => {
        if (!(await isOwnFolder(path))) throw error;
      });
      if (!(await isOwnFolder(path))) continue;
      writeFileSafelySync(join(path, OWNER_FILE), `${JSON.stringify(owner)}\n`);
      return path;
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure ?? new Error(`${tempDir} has no free name for the folder of this instance`);
}

/** Every path that the folder of this instance can have. */
export function rootsOf(tempDir: string, instance: InstanceId): string[] {
  const base = join(tempDir, `${TEMP.prefix}${instance.slice(0, TEMP.instanceChars)}`);
  return Array.from({ length: TEMP.rootTries }, (_, index) => (index === 0 ? base : `${base}-${index}`));
}

/** A folder, not a link, that only this user can enter. */
export async function isOwnFolder(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  return info?.isDirectory() === true && info.uid === process.getuid?.() && (info.mode & 0o077) === 0;
}

/** The roots of all instances of this user, with their owners. */
export async function listTempRoots(tempDir: string): Promise<{ path: string; owner: TempOwner }[]> {
  const names = await readdir(tempDir).catch(() => []);
  const found = names.filter((name) => ROOT_NAME.test(name)).map((name) => join(tempDir, name));
  const roots: { path: string; owner: TempOwner }[] = [];
  for (const path of found) {
    const owner = (await isOwnFolder(path)) ? await readOwner(path) : null;
    if (owner !== null) roots.push({ path, owner });
  }
  return roots;
}

async function readOwner(root: string): Promise<TempOwner | null> {
  try {
    return ownerSchema.parse(JSON.parse(await readFileSafely(join(root, OWNER_FILE), FILES.smallBytes)));
  } catch {
    return null;
  }
}
