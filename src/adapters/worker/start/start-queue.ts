/** Starts that are under way, before there is a process: so many at once, and none goes on that was ended meanwhile. */
import type { WorkerId } from '../../../core/ids.ts';
import { CurfewError } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import { Gate } from './gate.ts';

export class Starts {
  readonly #gate = new Gate(WORKERS.startsAtOnce);
  readonly #underWay = new Map<WorkerId, AbortController>();

  has(id: WorkerId): boolean {
    return this.#underWay.has(id);
  }

  /** `start` asks `wanted` right before there is a process. Who waits for one that was ended does not wait for a disk that hangs. */
  run<T>(id: WorkerId, start: (wanted: AbortSignal) => Promise<T>): Promise<T> {
    const ender = new AbortController();
    this.#underWay.set(id, ender);
    const { promise: ended, reject } = Promise.withResolvers<never>();
    ender.signal.addEventListener('abort', () => reject(ender.signal.reason));
    return Promise.race([this.#inTurn(id, () => start(ender.signal)), ended]);
  }

  /** Nothing of it will ever run. */
  end(id: WorkerId): void {
    this.#underWay.get(id)?.abort(new CurfewError('spawn_failed', 'it was ended before it ran'));
  }

  async #inTurn<T>(id: WorkerId, start: () => Promise<T>): Promise<T> {
    try {
      await this.#gate.enter();
      return await start();
    } finally {
      this.#gate.leave();
      this.#underWay.delete(id);
    }
  }
}
