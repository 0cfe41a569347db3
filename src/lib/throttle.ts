/** Lets one through, and drops those that follow within the interval. */
export class Throttle {
  readonly #everyMs: number;
  #passedMs = Number.NEGATIVE_INFINITY;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** False: the latest one that passed is too recent. */
  passes(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#passedMs < this.#everyMs) return false;
    this.#passedMs = nowMs;
    return true;
  }
}
