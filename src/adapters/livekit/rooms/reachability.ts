/** Tracks whether LiveKit answers, and since when. Reports each change once. */
import type { Stamp } from '../../../core/ids.ts';
import type { Clock } from '../../../ports/clock.ts';

export interface Reachability {
  readonly reachable: boolean;
  readonly since: Stamp;
  readonly lastError: string | null;
}

export class ReachabilityTracker {
  readonly #clock: Clock;
  readonly #onChange: (reachable: boolean) => void;
  #status: Reachability | null = null;
  #partialError: string | null = null;

  constructor(clock: Clock, onChange: (reachable: boolean) => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get status(): Reachability | null {
    return this.#status;
  }

  noteAnswer(): void {
    if (this.#status?.reachable === true) return;
    this.#status = { reachable: true, since: this.#clock.now(), lastError: null };
    this.#onChange(true);
  }

  noteUnreachable(error: string): void {
    const wasAway = this.#status?.reachable === false;
    const since = wasAway && this.#status !== null ? this.#status.since : this.#clock.now();
    this.#status = { reachable: false, since, lastError: error };
    this.#partialError = null;
    if (!wasAway) this.#onChange(false);
  }

  /** LiveKit answers some requests and fails others. The error stays until a whole round has no failure. */
  notePartialFailure(error: string): void {
    if (this.#status?.reachable !== true) return;
    this.#partialError = error;
    this.#setLastError(error);
  }

  endRound(): void {
    if (this.#partialError === null) this.#setLastError(null);
    this.#partialError = null;
  }

  #setLastError(lastError: string | null): void {
    if (this.#status !== null) this.#status = { ...this.#status, lastError };
  }
}
