/** The Rooms port of one supervisor over the simulated LiveKit: one poll at a time, each with its bound. */
import type { RoomKey } from '../../../src/core/ids.ts';
import { roomId } from '../../../src/core/ids.ts';
import type { RoomWebhook } from '../../../src/core/rooms/presence.ts';
import { PRESENCE, REMOVED } from '../../../src/lib/limits/room-limits.ts';
import type { RoomPace, RoomStepResult, Rooms, RoomsListener } from '../../../src/ports/rooms.ts';
import type { Life } from './life.ts';
import { never } from './life.ts';
import type { LiveKit, Webhook } from './livekit.ts';

type Step<K extends 'removeAgent' | 'closeRoom'> = Parameters<Rooms[K]>[0];

/** A snapshot of a room that the supervisor received, in times of the run. */
export interface Delivered {
  readonly deliveredMs: number;
  readonly askedMs: number;
  /** The time at which the snapshot was true. */
  readonly trueMs: number;
  /** LiveKit answered with an empty list although it had participants. */
  readonly blind: boolean;
}

export interface RoomsWatch {
  removing(effect: Step<'removeAgent'>): void;
  closing(effect: Step<'closeRoom'>): void;
  token(grant: { room: RoomKey; identity: string; ttlMs: number }): void;
}

export class SimRooms implements Rooms {
  readonly url = 'ws://livekit';
  readonly #delivered = new Map<string, Delivered[]>();
  readonly #livekit: LiveKit;
  readonly #life: Life;
  readonly #watch: RoomsWatch;
  readonly #followed = new Map<string, RoomKey>();
  readonly #rare = new Set<string>();
  #rounds = 0;
  readonly #asked = new Map<string, RoomKey>();
  readonly #seen = new Set<string>();
  #listener: RoomsListener | null = null;
  #status: ReturnType<Rooms['status']> = null;
  #asking = false;
  #nextRoundMs = 0;
  #cancel: () => void = () => undefined;

  constructor(livekit: LiveKit, life: Life, watch: RoomsWatch) {
    this.#livekit = livekit;
    this.#life = life;
    this.#watch = watch;
  }

  get #world() {
    return this.#livekit.world;
  }

  follow(room: RoomKey, pace: RoomPace = 'each_round'): void {
    this.#followed.set(roomId(room), room);
    if (pace === 'rarely') this.#rare.add(roomId(room));
    else this.#rare.delete(roomId(room));
  }

  unfollow(room: RoomKey): void {
    this.#rare.delete(roomId(room));
    this.#followed.delete(roomId(room));
    this.#asked.delete(roomId(room));
  }

  /** No agent of the simulation has a room pattern. */
  discover(): void {}

  start(listener: RoomsListener): void {
    if (this.#life.dead('rooms start')) return;
    this.#listener = listener;
    this.#schedule();
  }

  poll(room: RoomKey): void {
    if (this.#life.dead('poll') || !this.#followed.has(roomId(room))) return;
    this.#asked.set(roomId(room), room);
    this.#schedule();
  }

  /** No agent of the simulation reads its job. */
  describe(): Promise<null> {
    return Promise.resolve(null);
  }

  removeAgent(effect: Step<'removeAgent'>): Promise<RoomStepResult> {
    return this.#step('removeAgent', effect.boundMs, () => {
      this.#watch.removing(effect);
      const person = this.#livekit.room(effect.room.name)?.people.get(effect.identity);
      if (person === undefined) return { outcome: 'done', detail: 'the agent was not in the room' };
      this.#livekit.leave(effect.room.name, person.sid, 'participant_removed');
      return { outcome: 'done', detail: null };
    });
  }

  closeRoom(effect: Step<'closeRoom'>): Promise<RoomStepResult> {
    return this.#step('closeRoom', effect.boundMs, () => {
      const room = this.#livekit.room(effect.room.name);
      if (room === undefined) return { outcome: 'done', detail: 'the room was gone already' };
      if (effect.roomSid === null || room.sid !== effect.roomSid)
        return { outcome: 'skipped', detail: 'another room has this name now' };
      this.#watch.closing(effect);
      this.#livekit.finish(effect.room.name, 'room_deleted');
      return { outcome: 'done', detail: null };
    });
  }

  closeEmpty({ room, roomSid, boundMs }: Parameters<Rooms['closeEmpty']>[0]): Promise<RoomStepResult> {
    return this.#step('closeEmpty', boundMs, () => {
      const found = this.#livekit.room(room.name);
      if (found === undefined || found.sid !== roomSid || found.people.size > 0)
        return { outcome: 'skipped', detail: 'not empty' };
      this.#watch.closing({ do: 'close_room', room, roomSid, boundMs });
      this.#livekit.finish(room.name, 'room_deleted');
      return { outcome: 'done', detail: null };
    });
  }

  /** No other agent than curfew's joins these rooms. */
  closeRefused({ room, roomSid, boundMs }: Parameters<Rooms['closeRefused']>[0]): Promise<RoomStepResult> {
    return this.closeRoom({ do: 'close_room', room, roomSid, boundMs });
  }

  workerToken(grant: { room: RoomKey; identity: string; ttlMs: number }): Promise<string> {
    if (this.#life.dead('worker token')) return never();
    this.#watch.token(grant);
    return Promise.resolve(JSON.stringify([grant.room.name, grant.identity]));
  }

  webhook(): Promise<void> {
    return Promise.resolve();
  }

  /** A webhook arrived at the supervisor. */
  hook({ id, room, event, atWallMs }: Webhook): void {
    if (this.#life.dead('a webhook') || this.#listener === null || this.#seen.has(id)) return;
    this.#seen.add(id);
    const key = { project: 'default', name: room };
    if (!this.#followed.has(roomId(key))) return;
    const at = { bootMs: this.#world.bootMs, wallMs: atWallMs };
    this.#listener.event(key, { ...event, at } as RoomWebhook);
    this.poll(key);
  }

  status(): ReturnType<Rooms['status']> {
    return this.#status;
  }

  close(): Promise<void> {
    this.#cancel();
    this.#listener = null;
    return Promise.resolve();
  }

  #schedule(): void {
    if (this.#asking || this.#listener === null) return;
    this.#cancel();
    const soon = this.#asked.size > 0 && this.#status?.reachable === true;
    const waitMs = soon
      ? Math.min(PRESENCE.gatherMs, this.#nextRoundMs - this.#world.nowMs)
      : this.#nextRoundMs - this.#world.nowMs;
    this.#cancel = this.#soon(waitMs, 'LiveKit is asked', () => this.#ask());
  }

  #ask(): void {
    const { random, nowMs } = this.#world;
    this.#asking = true;
    const inRound = nowMs >= this.#nextRoundMs;
    if (inRound) this.#nextRoundMs = nowMs + PRESENCE.pollEveryMs * (1 - PRESENCE.jitter * random.next());
    if (inRound) this.#rounds += 1;
    const rooms = inRound ? this.#round() : [...this.#asked.values()];
    this.#asked.clear();
    const { api } = this.#livekit;
    const boundMs = PRESENCE.requestTimeoutMs;
    if (api === 'hung') this.#soon(boundMs, 'LiveKit did not answer', () => this.#away('timeout'));
    else if (api === 'failing')
      this.#soon(random.wait(20, boundMs), 'LiveKit refused', () => this.#away('refused'));
    else this.#answerSoon(rooms);
  }

  #round(): RoomKey[] {
    const isFull = this.#rounds % REMOVED.everyRounds === 0;
    return [...this.#followed].flatMap(([id, room]) =>
      isFull || !this.#rare.has(id) || this.#asked.has(id) ? room : [],
    );
  }

  #answerSoon(rooms: readonly RoomKey[]): void {
    const { random, nowMs, stamp } = this.#world;
    const { api } = this.#livekit;
    const tookMs = api === 'slow' ? random.between(500, 4_900) : random.wait(15, 400);
    const trueMs = nowMs + tookMs * random.next();
    const asked = { asOf: stamp, askedMs: nowMs, trueMs, blind: api === 'blind' };
    this.#soon(tookMs, 'LiveKit answers', () => {
      if (this.#life.dead('before a snapshot is delivered')) return;
      this.#here();
      for (const room of rooms) this.#tell(room, asked);
      this.#asking = false;
      this.#schedule();
    });
  }

  #tell(
    room: RoomKey,
    {
      asOf,
      askedMs,
      trueMs,
      blind,
    }: { asOf: { bootMs: number; wallMs: number } } & Omit<Delivered, 'deliveredMs'>,
  ): void {
    if (!this.#followed.has(roomId(room)) || !this.#life.alive) return;
    const { sid, people } = this.#livekit.moment(room.name, trueMs);
    const known = sid !== null && !blind;
    this.#remember(room.name, { deliveredMs: this.#world.nowMs, askedMs, trueMs, blind });
    const createdWallMs = this.#livekit.createdWallMs(sid);
    this.#listener?.snapshot(room, {
      asOf,
      roomSid: known ? sid : null,
      roomCreatedWallMs: known ? createdWallMs : null,
      participants: known ? people : [],
    });
  }

  /** All snapshots of the room that this supervisor received. */
  delivered(room: string): readonly Delivered[] {
    return this.#delivered.get(room) ?? [];
  }

  #remember(room: string, snapshot: Delivered): void {
    const known = this.#delivered.get(room);
    if (known === undefined) this.#delivered.set(room, [snapshot]);
    else known.push(snapshot);
  }

  #here(): void {
    if (this.#status?.reachable === true) return;
    this.#status = { reachable: true, since: this.#world.stamp, lastError: null };
    this.#listener?.reachable(true);
  }

  #away(lastError: string): void {
    if (this.#life.dead('LiveKit is away')) return;
    this.#asking = false;
    const was = this.#status?.reachable === false;
    this.#status = { reachable: false, since: this.#world.stamp, lastError };
    if (!was) this.#listener?.reachable(false);
    this.#schedule();
  }

  #step(what: string, boundMs: number, work: () => RoomStepResult): Promise<RoomStepResult> {
    if (this.#life.dead(`before ${what}`)) return never();
    const { random } = this.#world;
    const { api } = this.#livekit;
    const tookMs = api === 'slow' ? random.between(500, 8_000) : random.wait(20, 500);
    return new Promise((resolve) => {
      if (api === 'failing')
        this.#soon(tookMs, `${what} is refused`, () => resolve({ outcome: 'failed', detail: 'refused' }));
      else if (api === 'hung' || tookMs > boundMs)
        this.#soon(boundMs, `${what} is late`, () => resolve({ outcome: 'timeout', detail: 'no answer' }));
      else
        this.#soon(tookMs, what, () => {
          if (this.#life.dead(`${what} is done`)) return;
          const result = work();
          if (!this.#life.dead(`after ${what}`)) resolve(result);
        });
    });
  }

  #soon(waitMs: number, what: string, run: () => void): () => void {
    return this.#world.after(waitMs, { place: 'supervisor', what, life: this.#life, run });
  }
}
