/** Time and timers. */
import type { Stamp } from '../core/ids.ts';

export interface Clock {
  now(): Stamp;
  /** Calls back once, at or soon after `bootMs` on the boot-time clock. The returned function cancels. */
  at(bootMs: number, callback: () => void): () => void;
}
