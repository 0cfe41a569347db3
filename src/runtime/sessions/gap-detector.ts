/** Detects a time in which the supervisor did not run: suspend, SIGSTOP, overload. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Clock } from '../../ports/clock.ts';

export class GapDetector {
  #lastMs: number;
  #cancel: (() => void) | null = null;
  readonly #clock: Clock;
  readonly #onGap: (gapMs: number) => void;

  constructor(clock: Clock, onGap: (gapMs: number) => void) {
    this.#clock = clock;
    this.#onGap = onGap;
    this.#lastMs = clock.now().bootMs;
  }

  start(): void {
    this.check();
    this.#cancel = this.#clock.at(this.#lastMs + DEADLINES.gapCheckMs, () => this.start());
  }

  /** Call it before each check of a deadline, so that a gap is known first. */
  check(): void {
    const nowMs = this.#clock.now().bootMs;
    const gapMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (gapMs > DEADLINES.gapMs) this.#onGap(gapMs);
  }

  stop(): void {
    this.#cancel?.();
  }
}
