/** One timer for each session, set to its next deadline. */
import type { SessionId } from '../../core/ids.ts';
import type { Clock } from '../../ports/clock.ts';

export class DeadlineTimers {
  readonly #clock: Clock;
  readonly #tick: (id: SessionId) => void;
  readonly #timers = new Map<SessionId, { readonly atMs: number; readonly cancel: () => void }>();

  constructor(clock: Clock, tick: (id: SessionId) => void) {
    this.#clock = clock;
    this.#tick = tick;
  }

  /** null: no deadline is armed. */
  set(id: SessionId, atMs: number | null): void {
    if (this.#timers.get(id)?.atMs === atMs) return;
    this.cancel(id);
    // Infinity: LiveKit does not answer, so a deadline that needs a snapshot has no time.
    if (atMs === null || !Number.isFinite(atMs)) return;
    this.#timers.set(id, { atMs, cancel: this.#clock.at(atMs, () => this.#due(id)) });
  }

  cancel(id: SessionId): void {
    this.#timers.get(id)?.cancel();
    this.#timers.delete(id);
  }

  close(): void {
    for (const id of [...this.#timers.keys()]) this.cancel(id);
  }

  #due(id: SessionId): void {
    this.#timers.delete(id);
    this.#tick(id);
  }
}
