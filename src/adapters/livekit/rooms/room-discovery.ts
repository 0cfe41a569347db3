/** Lists all rooms at each poll, for those that begin without anybody's asking curfew; a lost webhook costs one interval. */
import type { RoomKey } from '../../../core/ids.ts';
import { roomNamed } from '../../../core/ids.ts';
import { PRESENCE } from '../../../lib/limits/room-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { RoomClient } from './twirp-client.ts';

export interface FinderOptions {
  readonly client: RoomClient;
  readonly clock: Clock;
  readonly everyMs: number;
  readonly found: (room: RoomKey, roomSid: string) => void;
}

export class Finder {
  readonly #options: FinderOptions;
  #isWanted: ((name: string) => boolean) | null = null;
  #cancel: (() => void) | null = null;
  #isClosed = false;

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  want(isWanted: ((name: string) => boolean) | null): void {
    this.#isWanted = isWanted;
    if (isWanted !== null && this.#cancel === null && !this.#isClosed) this.#schedule(0);
  }

  /** A webhook's word. */
  hear(room: RoomKey, roomSid: string): void {
    if (this.#isWanted?.(room.name) === true) this.#options.found(room, roomSid);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #schedule(inMs: number): void {
    const { clock } = this.#options;
    this.#cancel = clock.at(clock.now().bootMs + inMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { client, everyMs } = this.#options;
    // That LiveKit is away is the poller's to say.
    const rooms = await client.list([], PRESENCE.requestTimeoutMs).catch(() => null);
    if (this.#isClosed) return;
    for (const [name, { sid }] of rooms ?? []) this.hear(roomNamed(name), sid);
    this.#cancel = null;
    if (this.#isWanted !== null) this.#schedule(everyMs * (1 - PRESENCE.jitter * Math.random()));
  }
}
