/**
 * Polls the followed rooms. A round covers all of them in slices. Requested rooms come first.
 * Each slice makes three kinds of requests: the rooms, the participants of each existing room, and the rooms again.
 * Race: LiveKit's answers are not atomic. Participants count for a room only if its sid is the same before and after.
 */
import type { RoomKey, Stamp } from '../../../core/ids.ts';
import { roomId } from '../../../core/ids.ts';
import type { Participant, RoomSnapshot } from '../../../core/rooms/presence.ts';
import { PRESENCE, REMOVED } from '../../../lib/limits/room-limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { RoomPace } from '../../../ports/rooms.ts';
import { ReachabilityTracker } from './reachability.ts';
import { describeFailure, isAnswer } from './request-failure.ts';
import type { RoomClient, RoomFacts } from './twirp-client.ts';

export interface PollerListener {
  snapshot(room: RoomKey, snapshot: RoomSnapshot): void;
  reachable(reachable: boolean): void;
}

interface RoomList {
  readonly asOf: Stamp;
  readonly rooms: ReadonlyMap<string, RoomFacts>;
}

interface ParticipantAnswer {
  readonly room: RoomKey;
  readonly asOf: Stamp;
  /** `null`: the request for this room failed. */
  readonly participants: readonly Participant[] | null;
}

export class Poller {
  readonly reachability: ReachabilityTracker;
  readonly #client: RoomClient;
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #listener: PollerListener;
  readonly #followed = new Map<string, RoomKey>();
  /** Followed rooms that only some rounds cover. */
  readonly #rare = new Set<string>();
  #rounds = 0;
  /** Rooms to poll soon. */
  readonly #requested = new Map<string, RoomKey>();
  /** The rooms that the current round has not polled yet. */
  #round = new Map<string, RoomKey>();
  #nextRoundMs = 0;
  #cancel: (() => void) | null = null;
  #state: 'new' | 'waiting' | 'asking' | 'closed' = 'new';

  constructor(options: { client: RoomClient; clock: Clock; everyMs: number; listener: PollerListener }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#everyMs = options.everyMs;
    this.#listener = options.listener;
    this.reachability = new ReachabilityTracker(options.clock, (reachable) =>
      options.listener.reachable(reachable),
    );
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'waiting';
    this.#schedule();
  }

  follow(room: RoomKey, pace: RoomPace = 'each_round'): void {
    this.#followed.set(roomId(room), room);
    if (pace === 'rarely') this.#rare.add(roomId(room));
    else this.#rare.delete(roomId(room));
  }

  unfollow(room: RoomKey): void {
    this.#rare.delete(roomId(room));
    for (const rooms of [this.#followed, this.#requested, this.#round]) rooms.delete(roomId(room));
  }

  isFollowed(room: RoomKey): boolean {
    return this.#followed.has(roomId(room));
  }

  /** Polls the room soon, with a new request: the answer to a current one may be older than this call. */
  pollSoon(room: RoomKey): void {
    if (!this.isFollowed(room)) return;
    this.#requested.set(roomId(room), room);
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

  /** While LiveKit is unreachable, requested polls wait for the next round. */
  #dueMs(): number {
    const nowMs = this.#clock.now().bootMs;
    if (this.#round.size > 0) return nowMs;
    const soon = this.#requested.size > 0 && this.reachability.status?.reachable === true;
    return soon ? Math.min(this.#nextRoundMs, nowMs + PRESENCE.gatherMs) : this.#nextRoundMs;
  }

  async #step(): Promise<void> {
    this.#state = 'asking';
    const begins = this.#beginRound();
    const inRound = begins || this.#round.size > 0;
    const rooms = this.#takeSlice();
    try {
      // Without rooms, a round still checks whether LiveKit answers.
      if (rooms.length > 0) await this.#pollSlice(rooms);
      else if (begins) await this.#list([PROBE_ROOM]);
      if (inRound && this.#round.size === 0) this.reachability.endRound();
    } catch (error) {
      this.#round.clear();
      this.#requested.clear();
      if (!this.#isClosed()) this.reachability.noteUnreachable(describeFailure(error));
    }
    if (this.#isClosed()) return;
    this.#state = 'waiting';
    this.#schedule();
  }

  /** A round begins when the last one is complete and the interval is over. */
  #beginRound(): boolean {
    const nowMs = this.#clock.now().bootMs;
    if (this.#round.size > 0 || nowMs < this.#nextRoundMs) return false;
    this.#nextRoundMs = nowMs + this.#everyMs * (1 - PRESENCE.jitter * Math.random());
    this.#rounds += 1;
    const isFull = this.#rounds % REMOVED.everyRounds === 0;
    this.#round = new Map([...this.#followed].filter(([id]) => isFull || !this.#rare.has(id)));
    return true;
  }

  #takeSlice(): RoomKey[] {
    const slice = new Map(firstOf(this.#requested));
    for (const id of slice.keys()) this.#round.delete(id);
    for (const [id, room] of firstOf(this.#round)) slice.set(id, room);
    for (const id of slice.keys()) for (const rooms of [this.#requested, this.#round]) rooms.delete(id);
    return [...slice.values()];
  }

  async #pollSlice(rooms: readonly RoomKey[]): Promise<void> {
    const before = await this.#list(rooms.map((room) => room.name));
    const existing = rooms.filter((room) => before.rooms.has(room.name));
    for (const room of rooms) if (!before.rooms.has(room.name)) this.#report(room, before.asOf, null, []);
    if (existing.length === 0) return;
    const people = await inParallel(existing, (room) => this.#participantsOf(room));
    const after = await this.#list(existing.map((room) => room.name));
    for (const one of people) this.#reportIfSameRoom(one, before, after);
  }

  async #list(names: readonly string[]): Promise<RoomList> {
    const asOf = this.#clock.now();
    const rooms = await this.#client.list(names, PRESENCE.requestTimeoutMs);
    if (!this.#isClosed()) this.reachability.noteAnswer();
    return { asOf, rooms };
  }

  /** A failure for one room does not mean that LiveKit is unreachable. So the list of rooms is requested as a check. */
  async #participantsOf(room: RoomKey): Promise<ParticipantAnswer> {
    const asOf = this.#clock.now();
    try {
      const participants = await this.#client.participants(room.name, PRESENCE.requestTimeoutMs);
      return { room, asOf, participants };
    } catch (error) {
      if (!isAnswer(error)) await this.#list([room.name]);
      this.reachability.notePartialFailure(`for one room: ${describeFailure(error)}`);
      return { room, asOf, participants: null };
    }
  }

  #reportIfSameRoom(
    { room, asOf, participants }: ParticipantAnswer,
    before: RoomList,
    after: RoomList,
  ): void {
    const facts = after.rooms.get(room.name);
    if (facts === undefined) this.#report(room, after.asOf, null, []);
    // The room was replaced between the requests. The participants may belong to either room.
    else if (facts.sid !== before.rooms.get(room.name)?.sid) this.pollSoon(room);
    else if (participants !== null) this.#report(room, asOf, facts, participants);
  }

  #report(room: RoomKey, asOf: Stamp, facts: RoomFacts | null, participants: readonly Participant[]): void {
    if (this.#isClosed() || !this.isFollowed(room)) return;
    const [roomSid, roomCreatedWallMs] = [facts?.sid ?? null, facts?.createdWallMs ?? null];
    this.#listener.snapshot(room, { asOf, roomSid, roomCreatedWallMs, participants });
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }
}

/** No room has this name, so the answer is empty. */
const PROBE_ROOM = 'curfew-probe';

function firstOf(rooms: ReadonlyMap<string, RoomKey>): [string, RoomKey][] {
  return [...rooms].slice(0, PRESENCE.sliceRooms);
}

/** After the first failure no further item is started. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const queue = [...items];
  const results: R[] = [];
  const lanes = Array.from({ length: Math.min(PRESENCE.parallel, items.length) }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.push(await work(item));
  });
  await Promise.all(lanes).finally(() => queue.splice(0));
  return results;
}
