/**
 * A folder that is held open. A path through its handle leads into this folder, also after a process replaced the folder by a
 * link or mounted something over it. Source: proc_pid_fd(5), and open(2), O_PATH.
 */
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { chmod, open, readFile } from 'node:fs/promises';

/** Because: Node has no name for this flag. Such a handle needs no right to read the folder. */
const O_PATH = 0o10000000;
const FOLDER_MODE = 0o700;

export class HeldFolder {
  readonly #handle: FileHandle;
  /** The mount that holds the folder. */
  readonly mount: string;

  private constructor(handle: FileHandle, mount: string) {
    this.#handle = handle;
    this.mount = mount;
  }

  /** `links`: also through a link. */
  static async open(path: string | Buffer, links: 'follow' | 'refuse'): Promise<HeldFolder> {
    const flags = O_PATH | constants.O_DIRECTORY | (links === 'refuse' ? constants.O_NOFOLLOW : 0);
    // Because: the types of Node allow only text for a handle, though Node takes bytes.
    const handle = await open(path as string, flags);
    try {
      return new HeldFolder(handle, await mountOf(handle));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get path(): string {
    return `/proc/self/fd/${this.#handle.fd}`;
  }

  at(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.path}/`), name]);
  }

  /** Opens a subfolder. Rejects where it is a link or a mount, or where it is gone. */
  async enter(name: Buffer): Promise<HeldFolder> {
    const folder = await HeldFolder.open(this.at(name), 'refuse');
    if (folder.mount === this.mount) return folder;
    await folder.close();
    throw new Error('something is mounted on it; unmount that');
  }

  /** Gives the owner back every right on the folder. Another user's folder stays as it is. */
  async openMode(): Promise<void> {
    const { mode } = await this.#handle.stat();
    if ((mode & FOLDER_MODE) !== FOLDER_MODE) await chmod(this.path, FOLDER_MODE).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * The mount's id, because a bind mount has the same device number as its source.
 * A kernel without mount ids tells other file systems alone.
 */
async function mountOf(handle: FileHandle): Promise<string> {
  const info = await readFile(`/proc/self/fdinfo/${handle.fd}`, 'utf8');
  return /^mnt_id:\s*\d+$/m.exec(info)?.[0] ?? `device ${(await handle.stat()).dev}`;
}
