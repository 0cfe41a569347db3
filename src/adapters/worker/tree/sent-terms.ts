/** The processes of a worker that have had their SIGTERM. They lie on disk, because a second one of the next supervisor would cut callbacks. */
import { appendFile } from 'node:fs/promises';
import pTimeout from 'p-timeout';
import { readFileSafely } from '../../../lib/safe-files.ts';

type Identity = { readonly pid: number; readonly startTicks: number };

/** Time for a disk that hangs. Then SIGTERM goes out without the knowledge of the earlier supervisor. */
const READ_MS = 1000;
const MOST_BYTES = 64 * 1024;

export class SentTerms {
  readonly #path: string;
  /** Start ticks by pid. */
  readonly #sent = new Map<number, number>();
  #read: Promise<void> | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads at the first call what an earlier supervisor sent. */
  ready(): Promise<void> {
    this.#read ??= pTimeout(this.#load(), { milliseconds: READ_MS, fallback: () => undefined });
    return this.#read;
  }

  has({ pid, startTicks }: Identity): boolean {
    return this.#sent.get(pid) === startTicks;
  }

  add(those: readonly Identity[]): void {
    const fresh = those.filter((one) => !this.has(one));
    for (const { pid, startTicks } of fresh) this.#sent.set(pid, startTicks);
    if (fresh.length === 0) return;
    const lines = fresh.map(({ pid, startTicks }) => `${pid} ${startTicks}\n`).join('');
    // Expected: on a full disk the next supervisor may send one more.
    appendFile(this.#path, lines, { mode: 0o600 }).catch(() => undefined);
  }

  async #load(): Promise<void> {
    const text = await readFileSafely(this.#path, MOST_BYTES).catch(() => '');
    for (const [, pid, startTicks] of text.matchAll(/^(\d+) (\d+)$/gm))
      this.#sent.set(Number(pid), Number(startTicks));
  }
}
