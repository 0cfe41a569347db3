import type { Stamp } from '../core/ids.ts';
import type { Actor } from '../core/model/session.ts';

export interface DrainRecord {
  readonly by: Actor;
  readonly at: Stamp;
  /** When what is left is released; null: it waits as long as it takes. */
  readonly untilMs: number | null;
  readonly bootId: string;
}

/** None of these throws. */
export interface DrainStore {
  read(): DrainRecord | null;
  write(record: DrainRecord): void;
  clear(): void;
}
