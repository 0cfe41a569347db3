/** The allocations of all sessions as an immutable value. Because: with 2000 calls, copying one Map per change takes a fifth of a mass release. */

import type { SessionId } from '../ids.ts';
import type { Allocation } from './allocation.ts';

const BUCKETS = 256;

export class AllocationTable {
  readonly #buckets: readonly ReadonlyMap<SessionId, Allocation>[];

  private constructor(buckets: readonly ReadonlyMap<SessionId, Allocation>[]) {
    this.#buckets = buckets;
  }

  static of(allocations: readonly Allocation[]): AllocationTable {
    const buckets = Array.from({ length: BUCKETS }, () => new Map<SessionId, Allocation>());
    for (const one of allocations) buckets[bucketOf(one.sessionId)]?.set(one.sessionId, one);
    return new AllocationTable(buckets);
  }

  get(id: SessionId): Allocation | null {
    return this.#buckets[bucketOf(id)]?.get(id) ?? null;
  }

  get isEmpty(): boolean {
    return this.#buckets.every((bucket) => bucket.size === 0);
  }

  /** null: the session holds nothing any more. This table does not change. */
  with(id: SessionId, allocation: Allocation | null): AllocationTable {
    const at = bucketOf(id);
    const bucket = new Map(this.#buckets[at]);
    if (allocation === null) bucket.delete(id);
    else bucket.set(id, allocation);
    return new AllocationTable(this.#buckets.with(at, bucket));
  }

  [Symbol.iterator](): Iterator<Allocation> {
    return this.filter(() => true)[Symbol.iterator]();
  }

  filter(isWanted: (one: Allocation) => boolean): Allocation[] {
    const found: Allocation[] = [];
    for (const bucket of this.#buckets) for (const one of bucket.values()) if (isWanted(one)) found.push(one);
    return found;
  }
}

function bucketOf(id: SessionId): number {
  let hash = 0;
  for (let at = 0; at < id.length; at++) hash = (Math.imul(hash, 31) + id.charCodeAt(at)) | 0;
  return (hash >>> 0) % BUCKETS;
}
