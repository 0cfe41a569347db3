/**
 * Keeps a usable database at one path, on the registry's thread; whatever is found damaged or strange there is set aside, never deleted.
 *
 * - Damaged, at the start or while in use: an empty one takes its place, and those who have the sessions in memory write them again.
 * - Deleted or replaced while in use: SQLite still holds the old file open, so it is copied out whole and put back.
 * - Replaced with its whole directory: that is another supervisor's, or will be. Nothing is put there: an error until ours is back.
 * - Neither is possible now, for want of space or of the directory: an error, and it is tried again at the next request.
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

/** SQLITE_CORRUPT and SQLITE_NOTADB. Source: sqlite.org/rescode.html; the low byte is the primary code. */
const DAMAGED = [11, 26];

export class StoreRecovery {
  readonly #path: string;
  readonly #onLost: (lost: DatabaseLoss) => void;
  readonly #place: StateDirIdentity;
  /** Null: the old one is set aside, and a new one could not be made yet. */
  #store: Store | null;
  #untold: DatabaseLoss | null = null;
  #renewedMs = Number.NEGATIVE_INFINITY;

  /** `place`: whose database it is to be; a keeper that takes over from another one is told. */
  constructor(
    path: string,
    onLost: (lost: DatabaseLoss) => void,
    place: StateDirIdentity = stateDirIdentityAt(dirname(path)),
  ) {
    this.#path = path;
    this.#onLost = onLost;
    this.#place = place;
    this.#store = this.#open();
  }

  get isNew(): boolean {
    return this.#store?.isNew ?? true;
  }

  /** Tried once more where the database in use was no longer what it had been. */
  runGroup(requests: readonly Request[]): Outcome[] {
    try {
      const outcomes = this.#current().runGroup(requests);
      const damage = outcomes.find((one) => 'error' in one && isDamaged(one.error));
      if (damage === undefined || !('error' in damage)) return outcomes;
      throw damage.error;
    } catch (error) {
      if (!isDamaged(error) && !(error instanceof FileLost)) throw error;
      this.#renew(error);
      return this.#current().runGroup(requests);
    }
  }

  close(): void {
    this.#store?.close();
  }

  #current(): Store {
    this.#store ??= this.#open();
    if (this.#untold !== null) this.#onLost(this.#untold);
    this.#untold = null;
    return this.#store;
  }

  #open(): Store {
    checkSameStateDir(this.#place);
    const remains = this.#remains();
    if (remains !== null) this.#onLost(remains);
    try {
      return new Store(this.#path);
    } catch (error) {
      if (!isDamaged(error)) throw error;
      this.#onLost({ setAside: this.#setAside('corrupt'), why: messageOf(error), isCopied: false });
      return new Store(this.#path);
    }
  }

  /** What tells of a database that is not there any more; null: nothing. SQLite would delete its log. */
  #remains(): DatabaseLoss | null {
    if (sizeOf(this.#path) > 0 || this.#untold !== null) return null;
    if (sizeOf(`${this.#path}-wal`) > 0) {
      const why = `the database file ${this.#path} is gone, and its log is left`;
      return { setAside: this.#setAside('left'), why, isCopied: false };
    }
    const workers = join(dirname(this.#path), STATE_FILES.workers);
    if (!existsSync(workers) || readdirSync(workers).length === 0) return null;
    const why = `there is no database at ${this.#path}, but folders of workers`;
    return { setAside: null, why, isCopied: false };
  }

  /** At most so often: a disk that damages everything must not be filled with what was set aside. */
  #renew(error: unknown): void {
    checkSameStateDir(this.#place);
    if (performance.now() - this.#renewedMs < REGISTRY.renewEveryMs) throw error;
    const isCopied = !isDamaged(error) && this.#copy();
    // What was copied needs nothing of what is left beside a file that is gone.
    if (isCopied && !existsSync(this.#path)) for (const path of this.#files()) rmSync(path, { force: true });
    const setAside = this.#setAside(isDamaged(error) ? 'corrupt' : 'left');
    if (isCopied) renameSync(this.#copyPath, this.#path);
    // Only now, or its last words would go into the file that is set aside.
    this.#forget();
    this.#untold = { setAside, why: messageOf(error), isCopied };
    this.#renewedMs = performance.now();
  }

  get #copyPath(): string {
    return `${this.#path}.copy`;
  }

  /** False: it is damaged as well. Throws where only space or the directory is wanting. */
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

  #forget(): void {
    const store = this.#store;
    this.#store = null;
    try {
      store?.close();
    } catch {
      // A damaged one may not even close.
    }
  }

  /** Null: there was nothing. */
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
  // SQLITE_ERROR for a table that every version has (somebody else's database), or for a record that is no JSON.
  const isStrange = /^(no such table|malformed JSON)/.test(messageOf(error));
  return DAMAGED.includes(errcode & 0xff) || (errcode === 1 && isStrange);
}
