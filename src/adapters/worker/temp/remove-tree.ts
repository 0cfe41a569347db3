/**
 * Removes a folder that a worker filled. The worker chose every name, link, mode and depth in it.
 * - No link is followed, and no mount is entered: the kernel refuses to move or remove a mount point.
 * - Each subfolder moves to the top first. So no path grows too long, and a deep tree needs no recursion.
 * - Names are bytes, because they need not be UTF-8.
 * - One call to the kernel at a time: the event loop, and three of Node's four file threads, stay free.
 */
import { chmod, lstat, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { messageOf } from '../../../lib/errors.ts';
import { TEMP } from '../../../lib/limits/temp-limits.ts';

const SLASH = Buffer.from('/');
const FOLDER_MODE = 0o700;
/** Because: the types of Node do not know `buffer` here, though Node does. */
const AS_BYTES = { encoding: 'buffer' as BufferEncoding };
/** An entry can appear behind the reader of its folder, for example one that moved. */
const PASSES = 5;

/** `null`: nothing is left. Otherwise the first error. Never rejects. */
export async function removeTree(path: string): Promise<string | null> {
  try {
    if (!(await lstat(path)).isDirectory()) {
      await unlink(path);
      return null;
    }
  } catch (error) {
    return isMissing(error) ? null : messageOf(error);
  }
  return new TreeRemoval(Buffer.from(path)).run();
}

class TreeRemoval {
  readonly #top: Buffer;
  readonly #folders: Buffer[] = [];
  #moved = 0;
  #errors = 0;
  #firstError: string | null = null;

  constructor(top: Buffer) {
    this.#top = top;
  }

  async run(): Promise<string | null> {
    for (let pass = 0; pass < PASSES && this.#errors === 0; pass += 1) {
      await this.#empty(this.#top);
      for (let next = this.#folders.pop(); next !== undefined; next = this.#folders.pop()) {
        await this.#empty(next);
        await this.#try(() => rmdir(next));
      }
      const error = await rmdir(this.#top).then(() => null, asError);
      if (error === null || isMissing(error)) return null;
      if (error.code !== 'ENOTEMPTY') return this.#firstError ?? error.message;
    }
    return this.#firstError ?? 'files keep appearing in it';
  }

  async #empty(folder: Buffer): Promise<void> {
    await this.#try(async () => {
      await openModeOf(folder);
      for await (const { name } of await opendir(folder, AS_BYTES)) {
        if (this.#errors >= TEMP.removeErrors) return;
        await this.#removeEntry(folder, Buffer.from(name));
      }
    });
  }

  async #removeEntry(folder: Buffer, name: Buffer): Promise<void> {
    const path = Buffer.concat([folder, SLASH, name]);
    const error = await unlink(path).then(() => null, asError);
    if (error === null || isMissing(error)) return;
    if (error.code === 'EISDIR') await this.#removeFolder(path);
    else this.#note(error);
  }

  async #removeFolder(path: Buffer): Promise<void> {
    const error = await rmdir(path).then(() => null, asError);
    if (error === null || isMissing(error)) return;
    this.#moved += 1;
    const target = Buffer.concat([this.#top, SLASH, Buffer.from(`.curfew-${process.pid}-${this.#moved}`)]);
    const moved = await this.#try(async () => {
      // Because: a folder that moves gets a new `..`, so the kernel asks for the right to write in it.
      await openModeOf(path);
      await rename(path, target);
    });
    if (moved) this.#folders.push(target);
  }

  /** False: it failed, and the error is noted. */
  async #try(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isMissing(error)) this.#note(error);
      return false;
    }
  }

  #note(error: unknown): void {
    this.#errors += 1;
    this.#firstError ??= messageOf(error);
  }
}

/** Gives the owner back every right on a folder. Another user's folder stays as it is. */
async function openModeOf(folder: Buffer): Promise<void> {
  const info = await lstat(folder);
  if (info.isDirectory() && (info.mode & FOLDER_MODE) !== FOLDER_MODE)
    await chmod(folder, FOLDER_MODE).catch(() => undefined);
}

function asError(error: unknown): NodeJS.ErrnoException {
  return error as NodeJS.ErrnoException;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
