/** A kept room: its session has ended, its callers talk on. It holds no slot; one left alone, or 4 h, and it is closed. */
import type { RoomKey, Stamp } from './ids.ts';

export interface RoomWatch {
  readonly room: RoomKey;
  readonly roomSid: string;
  readonly since: Stamp;
  /** Since when at most one caller is there; null: two or more are. */
  readonly aloneSinceMs: number | null;
}
