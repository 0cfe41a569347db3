/** Collects background writes to workers' folders. Only the supervisor's end waits for them. */
import { messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../ports/log.ts';

export class PendingWrites {
  readonly #log: Log;
  readonly #pending = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** A failed write is logged and ends no call. */
  add(write: Promise<void>): void {
    const logged = write.catch((error: unknown) => {
      this.#log.warn(
        { error: messageOf(error) },
        "a write to a worker's folder failed; the call continues, but a restart may miss that change",
      );
    });
    this.#pending.add(logged);
    void logged.finally(() => this.#pending.delete(logged));
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }
}
