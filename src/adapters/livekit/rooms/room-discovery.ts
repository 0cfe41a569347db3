/** Finds rooms that were created without a dispatch. It lists all rooms in each interval, so a lost webhook costs one interval. */
import type { RoomKey } from '../../../core/ids.ts';
import { roomNamed } from '../../../core/ids.ts';
import { PRESENCE } from '../../../lib/limits/room-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { RoomClient } from './twirp-client.ts';

export interface RoomFinderOptions {
  readonly client: RoomClient;
  readonly clock: Clock;
  readonly everyMs: number;
  readonly found: (room: RoomKey, roomSid: string) => void;
}

export class RoomFinder {
  readonly #options: RoomFinderOptions;
  #isWanted: ((name: string) => boolean) | null = null;
  #cancel: (() => void) | null = null;
  #isClosed = false;

  constructor(options: RoomFinderOptions) {
    this.#options = options;
  }

  /** `null` stops the search. */
  setFilter(isWanted: ((name: string) => boolean) | null): void {
    this.#isWanted = isWanted;
    if (isWanted !== null && this.#cancel === null && !this.#isClosed) this.#schedule(0);
  }

  /** Takes a room from a webhook or a poll. */
  offer(room: RoomKey, roomSid: string): void {
    if (this.#isWanted?.(room.name) === true) this.#options.found(room, roomSid);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #schedule(inMs: number): void {
    const { clock } = this.#options;
    this.#cancel = clock.at(clock.now().bootMs + inMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    const { client, everyMs } = this.#options;
    // The poller reports that LiveKit is unreachable.
    const rooms = await client.list([], PRESENCE.requestTimeoutMs).catch(() => null);
    if (this.#isClosed) return;
    for (const [name, { sid }] of rooms ?? []) this.offer(roomNamed(name), sid);
    this.#cancel = null;
    if (this.#isWanted !== null) this.#schedule(everyMs * (1 - PRESENCE.jitter * Math.random()));
  }
}
