/** Looks at the followed rooms: one list of rooms, then the participants of each room that exists. */

import type { RoomKey, Stamp } from '../core/ids.ts';
import { roomId } from '../core/ids.ts';
import type { Observation } from '../core/presence.ts';
import { messageOf } from '../errors.ts';
import { PRESENCE } from '../limits.ts';
import type { Clock } from '../ports.ts';
import type { RoomClient } from './client.ts';

export interface PollerListener {
  observed(room: RoomKey, look: Observation): void;
  reachable(reachable: boolean): void;
}

export interface Reachability {
  readonly reachable: boolean;
  readonly since: Stamp;
  readonly lastError: string | null;
}

export class Poller {
  readonly #client: RoomClient;
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #listener: PollerListener;
  readonly #followed = new Map<string, RoomKey>();
  /** Rooms to look at before the next full round. */
  readonly #asked = new Map<string, RoomKey>();
  #status: Reachability | null = null;
  #nextRoundMs = 0;
  #cancel: (() => void) | null = null;
  #busy = false;
  #closed = false;

  constructor(options: { client: RoomClient; clock: Clock; everyMs: number; listener: PollerListener }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#everyMs = options.everyMs;
    this.#listener = options.listener;
  }

  get status(): Reachability | null {
    return this.#status;
  }

  start(): void {
    this.#schedule();
  }

  follow(room: RoomKey): void {
    this.#followed.set(roomId(room), room);
  }

  unfollow(room: RoomKey): void {
    this.#followed.delete(roomId(room));
    this.#asked.delete(roomId(room));
  }

  isFollowed(room: RoomKey): boolean {
    return this.#followed.has(roomId(room));
  }

  /** Soon, and never answered by a question that is already under way: what it will say may be older. */
  look(room: RoomKey): void {
    if (!this.isFollowed(room)) return;
    this.#asked.set(roomId(room), room);
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #schedule(): void {
    if (this.#busy || this.#closed) return;
    this.#cancel?.();
    const nowMs = this.#clock.now().bootMs;
    // While LiveKit is away one question per round is enough.
    const soon = this.#asked.size > 0 && this.#status?.reachable !== false;
    const dueMs = soon ? Math.min(this.#nextRoundMs, nowMs + PRESENCE.gatherMs) : this.#nextRoundMs;
    this.#cancel = this.#clock.at(dueMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    if (this.#busy || this.#closed) return;
    this.#busy = true;
    const full = this.#clock.now().bootMs >= this.#nextRoundMs;
    if (full) this.#nextRoundMs = this.#clock.now().bootMs + this.#everyMs;
    const rooms = full ? [...this.#followed.values()] : [...this.#asked.values()];
    this.#asked.clear();
    try {
      await this.#lookAt(rooms);
    } catch (error) {
      this.#noteAway(messageOf(error));
    }
    this.#busy = false;
    this.#schedule();
  }

  async #lookAt(rooms: readonly RoomKey[]): Promise<void> {
    const asOf = this.#clock.now();
    const names = rooms.length <= PRESENCE.namedRooms ? rooms.map((room) => room.name) : [];
    // With no room to look at, the question still tells whether LiveKit is there.
    const found = await this.#client.list(
      rooms.length === 0 ? [PROBE_ROOM] : names,
      PRESENCE.requestTimeoutMs,
    );
    this.#noteAnswer();
    const there: RoomKey[] = [];
    for (const room of rooms) {
      if (found.has(room.name)) there.push(room);
      else this.#tell(room, { asOf, roomSid: null, roomCreatedWallMs: null, participants: [] });
    }
    await inParallel(there, PRESENCE.parallel, async (room) => {
      const facts = found.get(room.name);
      const asked = this.#clock.now();
      const participants = await this.#client.participants(room.name, PRESENCE.requestTimeoutMs);
      // Not atomic: a room that vanished in between shows nobody, and the next list says so too.
      this.#tell(room, {
        asOf: asked,
        roomSid: facts?.sid ?? null,
        roomCreatedWallMs: facts?.createdWallMs ?? null,
        participants,
      });
    });
  }

  #tell(room: RoomKey, look: Observation): void {
    // A round that failed in the middle is no round: what its other lanes still find is not told.
    if (this.#closed || this.#status?.reachable !== true || !this.isFollowed(room)) return;
    this.#listener.observed(room, look);
  }

  #noteAnswer(): void {
    if (this.#status?.reachable === true) return;
    this.#status = { reachable: true, since: this.#clock.now(), lastError: null };
    this.#listener.reachable(true);
  }

  #noteAway(error: string): void {
    if (this.#closed) return;
    const before = this.#status;
    const since = before?.reachable === false ? before.since : this.#clock.now();
    this.#status = { reachable: false, since, lastError: error };
    if (before?.reachable !== false) this.#listener.reachable(false);
  }
}

/** No room has this name: it keeps the answer empty. */
const PROBE_ROOM = 'curfew-probe';

async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const lanes = Array.from({ length: Math.min(width, items.length) }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  });
  await Promise.all(lanes);
}
