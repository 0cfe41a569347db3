/** Who holds what, as a value: with two thousand calls a copied Map per change would be a fifth of the work of a mass release. */
import type { Holding } from './holdings.ts';
import type { SessionId } from './ids.ts';

const BUCKETS = 256;

export class Holders {
  readonly #buckets: readonly ReadonlyMap<SessionId, Holding>[];

  private constructor(buckets: readonly ReadonlyMap<SessionId, Holding>[]) {
    this.#buckets = buckets;
  }

  static of(holdings: readonly Holding[]): Holders {
    const buckets = Array.from({ length: BUCKETS }, () => new Map<SessionId, Holding>());
    for (const one of holdings) buckets[bucketOf(one.sessionId)]?.set(one.sessionId, one);
    return new Holders(buckets);
  }

  get(id: SessionId): Holding | null {
    return this.#buckets[bucketOf(id)]?.get(id) ?? null;
  }

  /** null: it holds nothing any more. This one stays as it is. */
  with(id: SessionId, holding: Holding | null): Holders {
    const at = bucketOf(id);
    const bucket = new Map(this.#buckets[at]);
    if (holding === null) bucket.delete(id);
    else bucket.set(id, holding);
    return new Holders(this.#buckets.with(at, bucket));
  }

  [Symbol.iterator](): Iterator<Holding> {
    return this.filter(() => true)[Symbol.iterator]();
  }

  filter(isWanted: (one: Holding) => boolean): Holding[] {
    const found: Holding[] = [];
    for (const bucket of this.#buckets) for (const one of bucket.values()) if (isWanted(one)) found.push(one);
    return found;
  }
}

function bucketOf(id: SessionId): number {
  let hash = 0;
  for (let at = 0; at < id.length; at++) hash = (Math.imul(hash, 31) + id.charCodeAt(at)) | 0;
  return (hash >>> 0) % BUCKETS;
}
