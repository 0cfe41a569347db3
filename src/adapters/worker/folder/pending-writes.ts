/** Writes to workers' folders that nobody waits for, until the end. */
import { messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../ports/log.ts';

export class Writes {
  readonly #log: Log;
  readonly #underWay = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** A write that fails is said, and ends no call. */
  add(written: Promise<void>): void {
    const logged = written.catch((error: unknown) => {
      this.#log.warn({ error: messageOf(error) }, "a worker's folder could not be written");
    });
    this.#underWay.add(logged);
    void logged.finally(() => this.#underWay.delete(logged));
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }
}
