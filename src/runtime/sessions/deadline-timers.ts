/** One timer for each session, set to its next deadline. */
import type { SessionId } from '../../core/ids.ts';
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Clock } from '../../ports/clock.ts';

export class DeadlineTimers {
  readonly #clock: Clock;
  readonly #tick: (id: SessionId) => void;
  readonly #timers = new Map<SessionId, { readonly atMs: number; readonly cancel: () => void }>();
  /** The events in a row that could not be handled. */
  readonly #failures = new Map<SessionId, number>();

  constructor(clock: Clock, tick: (id: SessionId) => void) {
    this.#clock = clock;
    this.#tick = tick;
  }

  /** null: no deadline is armed. */
  set(id: SessionId, atMs: number | null): void {
    this.#failures.delete(id);
    this.#arm(id, atMs);
  }

  /** An event of the session could not be handled. A tick comes soon, because that event may have been the one of a deadline. */
  setAgain(id: SessionId): void {
    const failures = this.#failures.get(id) ?? 0;
    this.#failures.set(id, failures + 1);
    const { firstMs, mostMs } = DEADLINES.failedTick;
    const atMs = this.#clock.now().bootMs + Math.min(mostMs, firstMs * 2 ** failures);
    this.#arm(id, Math.min(atMs, this.#timers.get(id)?.atMs ?? atMs));
  }

  #arm(id: SessionId, atMs: number | null): void {
    if (this.#timers.get(id)?.atMs === atMs) return;
    this.#clear(id);
    // Infinity: LiveKit does not answer, so a deadline that needs a snapshot has no time.
    if (atMs === null || !Number.isFinite(atMs)) return;
    this.#timers.set(id, { atMs, cancel: this.#clock.at(atMs, () => this.#due(id)) });
  }

  cancel(id: SessionId): void {
    this.#failures.delete(id);
    this.#clear(id);
  }

  #clear(id: SessionId): void {
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
