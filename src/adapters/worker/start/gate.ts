/** Lets so many through at once, in their order. `spawn()` blocks its caller: hundreds at once would stop everything else. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(width: number) {
    this.#free = width;
  }

  async enter(): Promise<void> {
    this.#free -= 1;
    if (this.#free >= 0) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    this.#free += 1;
    this.#waiting.shift()?.();
  }
}
