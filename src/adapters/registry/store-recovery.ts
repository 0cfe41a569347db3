/**
 * Keeps a usable database at one path, on the registry's thread. Damaged and foreign files are set aside, never deleted.
 *
 * - Damaged, at the start or in use: an empty database replaces it. The supervisor writes its sessions again from memory.
 * - Deleted or replaced in use: SQLite still has the old file open, so a copy of it is put back.
 * - Replaced with its whole directory: another supervisor may use it. Each request fails until the original is back.
 * - No repair is possible, because space or the directory is missing: the request fails, and the next one tries again.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { REGISTRY, STATE_FILES } from '../../lib/limits/storage-limits.ts';
import type { DatabaseLoss } from '../../ports/registry.ts';
import type { Outcome, Request } from './sqlite-store.ts';
import { FileLost, Store } from './sqlite-store.ts';
import type { StateDirIdentity } from './state-dir-identity.ts';
import { checkSameStateDir, stateDirIdentityAt } from './state-dir-identity.ts';

/** SQLITE_CORRUPT and SQLITE_NOTADB. The low byte is the primary code. Source: sqlite.org/rescode.html. */
const DAMAGED = [11, 26];

export class StoreRecovery {
  readonly #path: string;
  readonly #onLost: (lost: DatabaseLoss) => void;
  readonly #identity: StateDirIdentity;
  /** `null`: the old database is set aside, and no new one could be created yet. */
  #store: Store | null;
  #unreported: DatabaseLoss | null = null;
  #replacedMs = Number.NEGATIVE_INFINITY;

  /** `identity`: the expected state directory. A restarted thread gets the identity from the time of the first start. */
  constructor(
    path: string,
    onLost: (lost: DatabaseLoss) => void,
    identity: StateDirIdentity = stateDirIdentityAt(dirname(path)),
  ) {
    this.#path = path;
    this.#onLost = onLost;
    this.#identity = identity;
    this.#store = this.#open();
  }

  get isNew(): boolean {
    return this.#store?.isNew ?? true;
  }

  /** Repairs a damaged or lost database, then tries the requests once more. */
  runGroup(requests: readonly Request[]): Outcome[] {
    try {
      const outcomes = this.#current().runGroup(requests);
      const damage = outcomes.find((one) => 'error' in one && isDamaged(one.error));
      if (damage === undefined || !('error' in damage)) return outcomes;
      throw damage.error;
    } catch (error) {
      if (!isDamaged(error) && !(error instanceof FileLost)) throw error;
      this.#replace(error);
      return this.#current().runGroup(requests);
    }
  }

  close(): void {
    this.#store?.close();
  }

  #current(): Store {
    this.#store ??= this.#open();
    if (this.#unreported !== null) this.#onLost(this.#unreported);
    this.#unreported = null;
    return this.#store;
  }

  #open(): Store {
    checkSameStateDir(this.#identity);
    const loss = this.#findLoss();
    if (loss !== null) this.#onLost(loss);
    try {
      return new Store(this.#path);
    } catch (error) {
      if (!isDamaged(error)) throw error;
      this.#onLost({ setAside: this.#setAside('corrupt'), why: messageOf(error), isCopied: false });
      return new Store(this.#path);
    }
  }

  /** Detects a lost database by the files that it left. `null`: none. The log is set aside, because SQLite would delete it. */
  #findLoss(): DatabaseLoss | null {
    if (sizeOf(this.#path) > 0 || this.#unreported !== null) return null;
    if (sizeOf(`${this.#path}-wal`) > 0) {
      const why = `the database file ${this.#path} is gone, but its log is still there`;
      return { setAside: this.#setAside('left'), why, isCopied: false };
    }
    const workers = join(dirname(this.#path), STATE_FILES.workers);
    if (!existsSync(workers) || readdirSync(workers).length === 0) return null;
    const why = `there is no database at ${this.#path}, but there are folders of workers`;
    return { setAside: null, why, isCopied: false };
  }

  /** The rate is limited, so that a faulty disk is not filled with files that were set aside. */
  #replace(error: unknown): void {
    checkSameStateDir(this.#identity);
    if (performance.now() - this.#replacedMs < REGISTRY.renewEveryMs) throw error;
    const isCopied = !isDamaged(error) && this.#copy();
    // The copy is complete, so the remaining log of a deleted file is not needed.
    if (isCopied && !existsSync(this.#path)) for (const path of this.#files()) rmSync(path, { force: true });
    const setAside = this.#setAside(isDamaged(error) ? 'corrupt' : 'left');
    if (isCopied) renameSync(this.#copyPath, this.#path);
    // The close comes last, because it writes the log into the file, and that file must be set aside unchanged.
    this.#closeOld();
    this.#unreported = { setAside, why: messageOf(error), isCopied };
    this.#replacedMs = performance.now();
  }

  get #copyPath(): string {
    return `${this.#path}.copy`;
  }

  /** False: the open database is damaged too. Throws if space or the directory is missing. */
  #copy(): boolean {
    try {
      rmSync(this.#copyPath, { force: true });
      this.#store?.copyTo(this.#copyPath);
      return this.#store !== null;
    } catch (error) {
      rmSync(this.#copyPath, { force: true });
      if (isDamaged(error)) return false;
      throw error;
    }
  }

  #closeOld(): void {
    const store = this.#store;
    this.#store = null;
    try {
      store?.close();
    } catch {
      // A damaged database may fail to close.
    }
  }

  /** Returns the new path. `null`: there was no file. */
  #setAside(as: 'corrupt' | 'left'): string | null {
    const aside = `${this.#path}.${as}-${new Date().toISOString().replaceAll(':', '')}`;
    const found = this.#files().filter((path) => existsSync(path));
    for (const path of found) renameSync(path, aside + path.slice(this.#path.length));
    return found.length === 0 ? null : aside;
  }

  #files(): string[] {
    return ['', '-wal', '-shm'].map((suffix) => this.#path + suffix);
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function isDamaged(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  if (typeof errcode !== 'number') return false;
  // SQLITE_ERROR (1) without a table that every version has, as in another program's database, or with a broken record.
  const isForeign = /^(no such table|malformed JSON)/.test(messageOf(error));
  return DAMAGED.includes(errcode & 0xff) || (errcode === 1 && isForeign);
}
