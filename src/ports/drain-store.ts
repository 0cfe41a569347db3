/** The record of a drain, which outlives the supervisor. */
import type { Stamp } from '../core/ids.ts';
import type { Actor } from '../core/model/session.ts';

export interface DrainRecord {
  readonly by: Actor;
  readonly at: Stamp;
  /** Boot time in milliseconds when the drain releases the remaining sessions. null: the drain has no bound. */
  readonly untilMs: number | null;
  readonly bootId: string;
}

/** No method throws. */
export interface DrainStore {
  /** null: no drain is under way. */
  read(): DrainRecord | null;
  write(record: DrainRecord): void;
  clear(): void;
}
