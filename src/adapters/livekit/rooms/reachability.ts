/** Whether LiveKit answers, and since when; changes are told once. */
import type { Stamp } from '../../../core/ids.ts';
import type { Clock } from '../../../ports/clock.ts';

export interface Reachability {
  readonly reachable: boolean;
  readonly since: Stamp;
  readonly lastError: string | null;
}

export class Reach {
  readonly #clock: Clock;
  readonly #tell: (reachable: boolean) => void;
  #status: Reachability | null = null;
  #trouble: string | null = null;

  constructor(clock: Clock, tell: (reachable: boolean) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  get status(): Reachability | null {
    return this.#status;
  }

  noteAnswer(): void {
    if (this.#status?.reachable === true) return;
    this.#status = { reachable: true, since: this.#clock.now(), lastError: null };
    this.#tell(true);
  }

  noteAway(error: string): void {
    const wasAway = this.#status?.reachable === false;
    const since = wasAway && this.#status !== null ? this.#status.since : this.#clock.now();
    this.#status = { reachable: false, since, lastError: error };
    this.#trouble = null;
    if (!wasAway) this.#tell(false);
  }

  /** LiveKit answers, but not to everything: said until a whole round went without. */
  noteTrouble(error: string): void {
    if (this.#status?.reachable !== true) return;
    this.#trouble = error;
    this.#note(error);
  }

  endRound(): void {
    if (this.#trouble === null) this.#note(null);
    this.#trouble = null;
  }

  #note(lastError: string | null): void {
    if (this.#status !== null) this.#status = { ...this.#status, lastError };
  }
}
