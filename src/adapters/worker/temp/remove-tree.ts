/**
 * Removes a folder that a worker filled. The worker chose every name, link, mode, mount and depth in it.
 * - No mount is entered, neither over the folder itself nor in it. The files behind a mount belong to others.
 * - No link is followed. Race: a process can replace a folder by a link, so each path leads through an open handle.
 * - Each subfolder moves to the top first. So no path grows too long, and a deep tree needs no recursion.
 * - Names are bytes, because they need not be UTF-8.
 * - One call to the kernel at a time: the event loop, and three of Node's four file threads, stay free.
 */
import { randomBytes } from 'node:crypto';
import { lstat, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { messageOf } from '../../../lib/errors.ts';
import { TEMP } from '../../../lib/limits/temp-limits.ts';
import { HeldFolder } from './held-folder.ts';

/** Because: the types of Node do not know `buffer` here, though Node does. */
const AS_BYTES = { encoding: 'buffer' as BufferEncoding };
/** An entry can appear behind the reader of its folder, for example one that moved. */
const PASSES = 5;

/** `null`: nothing is left. Otherwise the first error. Never rejects. */
export async function removeTree(path: string): Promise<string | null> {
  const held: HeldFolder[] = [];
  const hold = (folder: HeldFolder) => {
    held.push(folder);
    return folder;
  };
  try {
    if (!(await lstat(path)).isDirectory()) {
      await unlink(path);
      return null;
    }
    const name = Buffer.from(basename(path));
    const parent = hold(await HeldFolder.open(dirname(path), 'follow'));
    return await new TreeRemoval(parent.at(name), hold(await parent.enter(name))).run();
  } catch (error) {
    return isMissing(error) ? null : messageOf(error);
  } finally {
    for (const folder of held) await folder.close();
  }
}

class TreeRemoval {
  readonly #path: Buffer;
  readonly #top: HeldFolder;
  /** Names of folders in the top that are not empty. */
  readonly #inTop: Buffer[] = [];
  #errors = 0;
  #firstError: string | null = null;

  constructor(path: Buffer, top: HeldFolder) {
    this.#path = path;
    this.#top = top;
  }

  async run(): Promise<string | null> {
    for (let pass = 0; pass < PASSES && this.#errors === 0; pass += 1) {
      await this.#empty(this.#top);
      for (let next = this.#inTop.pop(); next !== undefined; next = this.#inTop.pop())
        await this.#removeInTop(next);
      const error = await rmdir(this.#path).then(() => null, asError);
      if (error === null || isMissing(error)) return null;
      if (!['ENOTEMPTY', 'EEXIST'].includes(error.code ?? '')) return this.#firstError ?? error.message;
    }
    return this.#firstError ?? 'files keep appearing in it';
  }

  async #empty(folder: HeldFolder): Promise<void> {
    await this.#try(async () => {
      await folder.openMode();
      for await (const { name } of await opendir(folder.path, AS_BYTES)) {
        if (this.#errors >= TEMP.removeErrors) return;
        await this.#removeEntry(folder, Buffer.from(name));
      }
    });
  }

  async #removeEntry(folder: HeldFolder, name: Buffer): Promise<void> {
    const error = await unlink(folder.at(name)).then(() => null, asError);
    if (error === null || isMissing(error)) return;
    if (error.code === 'EISDIR') await this.#removeFolder(folder, name);
    else this.#note(error);
  }

  async #removeFolder(folder: HeldFolder, name: Buffer): Promise<void> {
    const error = await rmdir(folder.at(name)).then(() => null, asError);
    if (error === null || isMissing(error)) return;
    if (folder === this.#top) {
      this.#inTop.push(name);
      return;
    }
    // Because: the worker must not guess the name, or it could make a folder of that name that refuses the move.
    const target = Buffer.from(`.curfew-${randomBytes(TEMP.movedBytes).toString('hex')}`);
    await this.#try(async () => {
      // Because: a folder that moves gets a new `..`, so the kernel asks for the right to write in it.
      await within(folder, name, (inner) => inner.openMode());
      await rename(folder.at(name), this.#top.at(target));
      this.#inTop.push(target);
    });
  }

  async #removeInTop(name: Buffer): Promise<void> {
    await this.#try(async () => {
      await within(this.#top, name, (folder) => this.#empty(folder));
      await rmdir(this.#top.at(name));
    });
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isReplaced(error)) this.#note(error);
    }
  }

  #note(error: unknown): void {
    this.#errors += 1;
    // The number of a handle tells a reader of the log nothing.
    this.#firstError ??= messageOf(error).replaceAll(/\/proc\/self\/fd\/\d+\//g, '');
  }
}

async function within(
  parent: HeldFolder,
  name: Buffer,
  work: (folder: HeldFolder) => Promise<void>,
): Promise<void> {
  const folder = await parent.enter(name);
  try {
    await work(folder);
  } finally {
    await folder.close();
  }
}

function asError(error: unknown): NodeJS.ErrnoException {
  return error as NodeJS.ErrnoException;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** The folder is gone, or something else has its name. The next pass meets that. */
function isReplaced(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENOTEMPTY', 'EEXIST'].includes(asError(error).code ?? '');
}
