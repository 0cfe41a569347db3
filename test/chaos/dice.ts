/** The same seed gives the same choices. */
export interface Dice {
  below(limit: number): number;
  weighted<T extends string>(kinds: Readonly<Record<T, { readonly weight: number }>>): T;
}

/** mulberry32 by Tommy Ettinger, public domain. */
export function dice(seed: number): Dice {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    weighted: (kinds) => {
      const entries = Object.entries(kinds) as [never, { weight: number }][];
      let left = below(entries.reduce((sum, [, one]) => sum + one.weight, 0));
      for (const [name, { weight }] of entries) {
        if (left < weight) return name;
        left -= weight;
      }
      throw new Error('nothing to choose from');
    },
  };
}
