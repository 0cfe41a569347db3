/**
 * Keeps a usable database at one path, on the registry's thread. One that is corrupt is set aside, never deleted; one that was deleted or
 * replaced while in use is left as it is found. What was in it must then be written again by those who have it in memory.
 */
import { existsSync, renameSync } from 'node:fs';
import { messageOf } from '../errors.ts';
import type { Outcome, Request } from './store.ts';
import { FileLost, Store } from './store.ts';

export interface Lost {
  /** Where the damaged file is now; null: it was deleted or replaced by somebody. */
  readonly setAside: string | null;
  readonly why: string;
}

/** SQLITE_CORRUPT and SQLITE_NOTADB. Source: sqlite.org/rescode.html; the low byte is the primary code. */
const DAMAGED = [11, 26];

export class StoreKeeper {
  readonly #path: string;
  readonly #onLost: (lost: Lost) => void;
  #store: Store;

  constructor(path: string, onLost: (lost: Lost) => void) {
    this.#path = path;
    this.#onLost = onLost;
    this.#store = this.#open();
  }

  get isNew(): boolean {
    return this.#store.isNew;
  }

  /** Tried once more on a fresh database, where the one in use is no longer what it was. */
  runGroup(requests: readonly Request[]): Outcome[] {
    try {
      const outcomes = this.#store.runGroup(requests);
      const damage = outcomes.find((one) => 'error' in one && isDamaged(one.error));
      if (damage === undefined || !('error' in damage)) return outcomes;
      throw damage.error;
    } catch (error) {
      if (!isDamaged(error) && !(error instanceof FileLost)) throw error;
      this.#reopen(error);
      return this.#store.runGroup(requests);
    }
  }

  close(): void {
    this.#store.close();
  }

  #open(): Store {
    try {
      return new Store(this.#path);
    } catch (error) {
      if (!isDamaged(error)) throw error;
      this.#onLost({ setAside: this.#setAside(), why: messageOf(error) });
      return new Store(this.#path);
    }
  }

  #reopen(error: unknown): void {
    try {
      this.#store.close();
    } catch {
      // A damaged one may not even close.
    }
    const setAside = isDamaged(error) && existsSync(this.#path) ? this.#setAside() : null;
    this.#store = this.#open();
    this.#onLost({ setAside, why: messageOf(error) });
  }

  #setAside(): string {
    const aside = `${this.#path}.corrupt-${new Date().toISOString().replaceAll(':', '')}`;
    for (const suffix of ['', '-wal', '-shm'])
      if (existsSync(this.#path + suffix)) renameSync(this.#path + suffix, aside + suffix);
    return aside;
  }
}

function isDamaged(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' && DAMAGED.includes(code & 0xff);
}
