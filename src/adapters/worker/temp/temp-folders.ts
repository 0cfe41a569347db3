/**
 * A temporary folder for each worker: made before its start, removed after its tree is gone.
 * The name is short and derived from the worker's id, so a later supervisor finds it without a record.
 * Beside each folder a file `NAME.worker` holds the worker's id.
 */
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { TEMP } from '../../../lib/limits/temp-limits.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import { OPEN_FLAGS } from '../../../lib/safe-files.ts';
import type { Log } from '../../../ports/log.ts';
import { removeTree } from './remove-tree.ts';
import type { TempOwner } from './temp-root.ts';
import { isOwnFolder, makeTempRoot, rootsOf } from './temp-root.ts';

const FOLDER_NAME = new RegExp(`^[a-z2-7]{${TEMP.nameChars}}$`);
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** 50 bits of a hash. A thousand workers of one instance share a name with a chance of one in a billion. */
export function tempNameOf(id: WorkerId): string {
  const hash = createHash('sha256').update(id).digest();
  return Array.from({ length: TEMP.nameChars }, (_, index) => ALPHABET[(hash[index] ?? 0) % 32]).join('');
}

export class TempFolders {
  readonly #tempDir: string;
  readonly #owner: TempOwner;
  readonly #log: Log;
  /** Removals run one after the other, so that a mass end leaves the file system to the calls that go on. */
  #removals: Promise<void> = Promise.resolve();
  #hasFailed = false;

  constructor(options: { readonly tempDir: string; readonly owner: TempOwner; readonly log: Log }) {
    this.#tempDir = options.tempDir;
    this.#owner = options.owner;
    this.#log = options.log;
  }

  /** The path of the worker's folder. `null`: it cannot be made, and the worker takes the supervisor's TMPDIR. */
  async make(id: WorkerId): Promise<string | null> {
    try {
      const path = await pTimeout(this.#make(id), { milliseconds: WORKERS.folderMs });
      this.#hasFailed = false;
      return path;
    } catch (error) {
      if (!this.#hasFailed)
        this.#log.error(
          { path: this.#tempDir, error: messageOf(error) },
          'no temporary folder can be made below temp_dir: workers share the TMPDIR of the supervisor until that works',
        );
      this.#hasFailed = true;
      return null;
    }
  }

  async #make(id: WorkerId): Promise<string> {
    const root = await makeTempRoot(this.#tempDir, this.#owner);
    const path = join(root, tempNameOf(id));
    await writeFile(`${path}.worker`, `${id}\n`, { mode: 0o600, flag: OPEN_FLAGS.replace });
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** The worker's existing folder. `under`: the root directory of a process with other mounts. */
  async find(id: WorkerId, under = ''): Promise<string | null> {
    for (const root of rootsOf(`${under}${this.#tempDir}`, this.#owner.instance)) {
      const path = join(root, tempNameOf(id));
      if ((await isOwnFolder(root)) && (await isOwnFolder(path))) return path;
    }
    return null;
  }

  /** Call it when the worker's tree is gone. The removal goes on behind the caller, after `before`. */
  remove(id: WorkerId, before: () => Promise<void> = async () => undefined): void {
    this.#enqueue(async () => {
      await before();
      for (const root of await this.#roots()) await this.#removeOne(root, tempNameOf(id));
    });
  }

  /** The folders that exist now. Ask before the scan of the processes, see `removeLeft`. */
  async list(): Promise<{ readonly root: string; readonly name: string }[]> {
    const found: { root: string; name: string }[] = [];
    for (const root of await this.#roots()) {
      const names = new Set((await readdir(root).catch(() => [])).map((one) => one.replace(/\.worker$/, '')));
      found.push(...[...names].filter((name) => FOLDER_NAME.test(name)).map((name) => ({ root, name })));
    }
    return found;
  }

  /**
   * Removes the folders of `listed` whose worker is gone. Resolves with their number.
   * Race: a worker can start between the list and the scan. `isInUse` knows it by then, because its start made the folder.
   */
  removeLeft(
    listed: readonly { readonly root: string; readonly name: string }[],
    isInUse: (name: string) => boolean,
  ): Promise<number> {
    let removed = 0;
    return this.#enqueue(async () => {
      for (const { root, name } of listed) {
        if (isInUse(name) || (await isYoung(`${join(root, name)}.worker`))) continue;
        if (await this.#removeOne(root, name)) removed += 1;
      }
    }).then(() => removed);
  }

  /** Waits for removals for a moment. An instance without folders leaves nothing behind. */
  async close(): Promise<void> {
    await pTimeout(this.#removals, { milliseconds: TEMP.closeMs, fallback: () => undefined });
    for (const root of await this.#roots()) {
      const names = await readdir(root).catch(() => ['']);
      if (names.some((name) => FOLDER_NAME.test(name.slice(0, TEMP.nameChars)))) continue;
      await rm(join(root, 'owner.json'), { force: true }).catch(() => undefined);
      await rmdir(root).catch(() => undefined);
    }
  }

  async #roots(): Promise<string[]> {
    const found: string[] = [];
    for (const root of rootsOf(this.#tempDir, this.#owner.instance))
      if (await isOwnFolder(root)) found.push(root);
    return found;
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    this.#removals = this.#removals.then(work).catch((error: unknown) => {
      this.#log.warn(
        { error: messageOf(error) },
        'temporary files could not be removed; the next cleanup tries again',
      );
    });
    return this.#removals;
  }

  async #removeOne(root: string, name: string): Promise<boolean> {
    const path = join(root, name);
    const error = await removeTree(path);
    if (error === null) await rm(`${path}.worker`, { force: true });
    else
      this.#log.warn(
        { path, error },
        'a temporary folder of an ended worker could not be removed; each cleanup tries again',
      );
    return error === null;
  }
}

/** By the file beside the folder, which is as old as the worker. */
async function isYoung(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  return info !== null && Date.now() - info.mtimeMs < TEMP.graceMs;
}
