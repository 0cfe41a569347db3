/** A seeded source of random numbers. The same seed gives the same run. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  /** A wait that is usually short and sometimes long. */
  wait(usualMs: number, longMs: number): number {
    return this.chance(0.9) ? this.between(0, usualMs) : this.between(usualMs, longMs);
  }
}

/** The fate of a session or a worker, apart from the other random numbers of a run. `salt` tells two fates of one id apart. */
export function fateOf(id: string, salt: { readonly factor: number; readonly first: number }): Random {
  const { factor, first } = salt;
  return new Random([...id].reduce((sum, char) => Math.imul(sum, factor) + char.charCodeAt(0), first));
}
