/**
 * Looks at the followed rooms. A round takes slice after slice of them; rooms that a look was asked for come first.
 * Each slice is one question for the rooms, one for the participants of each room that exists, and one for the rooms again:
 * LiveKit's two answers are not atomic, and participants count for a room only if it was the same one before and after.
 */
import type { RoomKey, Stamp } from '../../../core/ids.ts';
import { roomId } from '../../../core/ids.ts';
import type { Participant, RoomSnapshot } from '../../../core/rooms/presence.ts';
import { PRESENCE } from '../../../lib/limits/room-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import { Reach } from './reachability.ts';
import { describeFailure, isAnswer } from './request-failure.ts';
import type { RoomClient, RoomFacts } from './twirp-client.ts';

export interface PollerListener {
  observed(room: RoomKey, look: RoomSnapshot): void;
  reachable(reachable: boolean): void;
}

interface RoomList {
  readonly asOf: Stamp;
  readonly rooms: ReadonlyMap<string, RoomFacts>;
}

interface People {
  readonly room: RoomKey;
  readonly asOf: Stamp;
  /** null: LiveKit could not say it of this room. */
  readonly participants: readonly Participant[] | null;
}

export class Poller {
  readonly reach: Reach;
  readonly #client: RoomClient;
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #listener: PollerListener;
  readonly #followed = new Map<string, RoomKey>();
  /** A look was asked for. */
  readonly #asked = new Map<string, RoomKey>();
  /** What is left of the running round. */
  #round = new Map<string, RoomKey>();
  #nextRoundMs = 0;
  #cancel: (() => void) | null = null;
  #state: 'new' | 'waiting' | 'asking' | 'closed' = 'new';

  constructor(options: { client: RoomClient; clock: Clock; everyMs: number; listener: PollerListener }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#everyMs = options.everyMs;
    this.#listener = options.listener;
    this.reach = new Reach(options.clock, (reachable) => options.listener.reachable(reachable));
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'waiting';
    this.#schedule();
  }

  follow(room: RoomKey): void {
    this.#followed.set(roomId(room), room);
  }

  unfollow(room: RoomKey): void {
    for (const rooms of [this.#followed, this.#asked, this.#round]) rooms.delete(roomId(room));
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
    this.#state = 'closed';
    this.#cancel?.();
  }

  #schedule(): void {
    if (this.#state !== 'waiting') return;
    this.#cancel?.();
    this.#cancel = this.#clock.at(this.#dueMs(), () => void this.#step());
  }

  /** While LiveKit is away one question per round is enough, whoever asks for a look. */
  #dueMs(): number {
    const nowMs = this.#clock.now().bootMs;
    if (this.#round.size > 0) return nowMs;
    const soon = this.#asked.size > 0 && this.reach.status?.reachable === true;
    return soon ? Math.min(this.#nextRoundMs, nowMs + PRESENCE.gatherMs) : this.#nextRoundMs;
  }

  async #step(): Promise<void> {
    this.#state = 'asking';
    const begins = this.#beginRound();
    const inRound = begins || this.#round.size > 0;
    const rooms = this.#take();
    try {
      // With no room to look at, a round still tells whether LiveKit is there.
      if (rooms.length > 0) await this.#lookAt(rooms);
      else if (begins) await this.#list([PROBE_ROOM]);
      if (inRound && this.#round.size === 0) this.reach.endRound();
    } catch (error) {
      this.#round.clear();
      this.#asked.clear();
      if (!this.#isClosed()) this.reach.noteAway(describeFailure(error));
    }
    if (this.#isClosed()) return;
    this.#state = 'waiting';
    this.#schedule();
  }

  /** The next round begins when the last one is through and the interval is over. */
  #beginRound(): boolean {
    const nowMs = this.#clock.now().bootMs;
    if (this.#round.size > 0 || nowMs < this.#nextRoundMs) return false;
    this.#nextRoundMs = nowMs + this.#everyMs * (1 - PRESENCE.jitter * Math.random());
    this.#round = new Map(this.#followed);
    return true;
  }

  #take(): RoomKey[] {
    const slice = new Map(firstOf(this.#asked));
    for (const id of slice.keys()) this.#round.delete(id);
    for (const [id, room] of firstOf(this.#round)) slice.set(id, room);
    for (const id of slice.keys()) for (const rooms of [this.#asked, this.#round]) rooms.delete(id);
    return [...slice.values()];
  }

  async #lookAt(rooms: readonly RoomKey[]): Promise<void> {
    const before = await this.#list(rooms.map((room) => room.name));
    const there = rooms.filter((room) => before.rooms.has(room.name));
    for (const room of rooms) if (!before.rooms.has(room.name)) this.#tell(room, before.asOf, null, []);
    if (there.length === 0) return;
    const people = await inParallel(there, (room) => this.#people(room));
    const after = await this.#list(there.map((room) => room.name));
    for (const one of people) this.#judge(one, before, after);
  }

  async #list(names: readonly string[]): Promise<RoomList> {
    const asOf = this.#clock.now();
    const rooms = await this.#client.list(names, PRESENCE.requestTimeoutMs);
    if (!this.#isClosed()) this.reach.noteAnswer();
    return { asOf, rooms };
  }

  /** One room's trouble is not everyone's: LiveKit is away only if it does not answer for the rooms either. */
  async #people(room: RoomKey): Promise<People> {
    const asOf = this.#clock.now();
    try {
      const participants = await this.#client.participants(room.name, PRESENCE.requestTimeoutMs);
      return { room, asOf, participants };
    } catch (error) {
      if (!isAnswer(error)) await this.#list([room.name]);
      this.reach.noteTrouble(`of one room: ${describeFailure(error)}`);
      return { room, asOf, participants: null };
    }
  }

  #judge({ room, asOf, participants }: People, before: RoomList, after: RoomList): void {
    const facts = after.rooms.get(room.name);
    if (facts === undefined) this.#tell(room, after.asOf, null, []);
    // Whose participants these are cannot be said.
    else if (facts.sid !== before.rooms.get(room.name)?.sid) this.look(room);
    else if (participants !== null) this.#tell(room, asOf, facts, participants);
  }

  #tell(room: RoomKey, asOf: Stamp, facts: RoomFacts | null, participants: readonly Participant[]): void {
    if (this.#isClosed() || !this.isFollowed(room)) return;
    const [roomSid, roomCreatedWallMs] = [facts?.sid ?? null, facts?.createdWallMs ?? null];
    this.#listener.observed(room, { asOf, roomSid, roomCreatedWallMs, participants });
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }
}

/** No room has this name: it keeps the answer empty. */
const PROBE_ROOM = 'curfew-probe';

function firstOf(rooms: ReadonlyMap<string, RoomKey>): [string, RoomKey][] {
  return [...rooms].slice(0, PRESENCE.sliceRooms);
}

/** The first failure ends it: what is not begun then never is. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const queue = [...items];
  const results: R[] = [];
  const lanes = Array.from({ length: Math.min(PRESENCE.parallel, items.length) }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.push(await work(item));
  });
  await Promise.all(lanes).finally(() => queue.splice(0));
  return results;
}
