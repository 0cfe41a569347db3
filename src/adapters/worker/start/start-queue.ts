/** Limits how many workers start at the same time, and cancels starts that have no process yet. */
import type { WorkerId } from '../../../core/ids.ts';
import { CurfewError } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';

export class StartQueue {
  readonly #permits = new Permits(WORKERS.startsAtOnce);
  readonly #current = new Map<WorkerId, AbortController>();

  has(id: WorkerId): boolean {
    return this.#current.has(id);
  }

  ids(): WorkerId[] {
    return [...this.#current.keys()];
  }

  /**
   * `start` must check `signal` right before it creates a process.
   * Rejects as soon as the start is cancelled, even while the disk hangs.
   */
  run<T>(id: WorkerId, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const { signal } = controller;
    this.#current.set(id, controller);
    const { promise: cancelled, reject } = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => reject(signal.reason));
    return Promise.race([this.#withPermit(id, () => start(signal)), cancelled]);
  }

  /** After this call the start creates no process that stays. */
  cancel(id: WorkerId): void {
    this.#current.get(id)?.abort(new CurfewError('spawn_failed', 'the worker was ended before it started'));
  }

  async #withPermit<T>(id: WorkerId, start: () => Promise<T>): Promise<T> {
    try {
      await this.#permits.acquire();
      return await start();
    } finally {
      this.#permits.release();
      this.#current.delete(id);
    }
  }
}

/**
 * Grants permits in the order of the calls.
 * `spawn()` blocks its caller: without this limit, hundreds of starts would stop everything else.
 */
class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(total: number) {
    this.#free = total;
  }

  async acquire(): Promise<void> {
    this.#free -= 1;
    if (this.#free >= 0) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  release(): void {
    this.#free += 1;
    this.#waiting.shift()?.();
  }
}
