/** The simulated LiveKit: its rooms, their participants, its webhooks and the state of its API. */
import type { DisconnectReason, Participant, RoomWebhook } from '../../../src/core/rooms/presence.ts';
import type { World } from './world.ts';

interface Room {
  readonly name: string;
  readonly sid: string;
  readonly createdWallMs: number;
  readonly people: Map<string, Participant>;
}

/** The state of a room's name from `fromMs` until the next moment. */
export interface Moment {
  readonly fromMs: number;
  readonly sid: string | null;
  readonly people: readonly Participant[];
}

/** `blind`: it answers with empty lists. */
export type ApiState = 'ok' | 'slow' | 'failing' | 'hung' | 'blind';

export interface Webhook {
  readonly id: string;
  readonly room: string;
  readonly atWallMs: number;
  readonly event: WebhookEvent;
}

export type WebhookEvent = RoomWebhook extends infer E
  ? E extends RoomWebhook
    ? Omit<E, 'at'>
    : never
  : never;

export interface LiveKitListener {
  webhook(hook: Webhook): void;
  /** A participant is out of the room, for any reason. */
  out(room: string, person: Participant, reason: DisconnectReason): void;
}

const EMPTY_MS = 20_000;

export class LiveKit {
  readonly world: World;
  api: ApiState = 'ok';
  listener: LiveKitListener = { webhook: () => undefined, out: () => undefined };
  /** The times of its empty lists. */
  readonly blindSpells: { readonly fromMs: number; readonly toMs: number }[] = [];
  readonly #rooms = new Map<string, Room>();
  readonly #history = new Map<string, Moment[]>();
  readonly #finished = new Map<string, number>();
  readonly #created = new Map<string, number>();
  #ids = 0;

  constructor(world: World) {
    this.world = world;
  }

  room(name: string): Room | undefined {
    return this.#rooms.get(name);
  }

  history(name: string): readonly Moment[] {
    return this.#history.get(name) ?? [];
  }

  /** The state of the room at that time. */
  moment(name: string, atMs: number): Moment {
    return this.history(name).findLast((one) => one.fromMs <= atMs) ?? { fromMs: 0, sid: null, people: [] };
  }

  finishedMs(sid: string): number | null {
    return this.#finished.get(sid) ?? null;
  }

  createdWallMs(sid: string | null): number | null {
    return sid === null ? null : (this.#created.get(sid) ?? null);
  }

  join(
    name: string,
    who: Pick<Participant, 'identity' | 'kind' | 'listens'> & {
      sipCallStatus?: string;
      audioTracks?: number;
    },
  ): Participant {
    const room = this.#rooms.get(name) ?? this.#create(name);
    const older = room.people.get(who.identity);
    if (older !== undefined) this.leave(name, older.sid, 'duplicate_identity');
    const person: Participant = {
      identity: who.identity,
      sid: `PA_${++this.#ids}`,
      kind: who.kind,
      state: 'active',
      hidden: false,
      recorder: false,
      agentGrant: who.kind === 'agent',
      sipCallStatus: who.sipCallStatus ?? null,
      audioTracks: who.audioTracks ?? 1,
      joinedAtWallMs: this.world.stamp.wallMs,
      ...(who.listens === true && { listens: true }),
    };
    room.people.set(person.identity, person);
    this.#changed(room);
    this.world.note('livekit', `${person.identity} joins ${name} as ${person.sid}`);
    this.#tell(room, { kind: 'joined', roomSid: room.sid, participant: person });
    return person;
  }

  leave(name: string, sid: string, reason: DisconnectReason): void {
    const room = this.#rooms.get(name);
    const person = [...(room?.people.values() ?? [])].find((one) => one.sid === sid);
    if (room === undefined || person === undefined) return;
    room.people.delete(person.identity);
    this.#changed(room);
    this.world.note('livekit', `${person.identity} leaves ${name}: ${reason}`);
    this.#tell(room, {
      kind: 'left',
      roomSid: room.sid,
      participant: { ...person, state: 'disconnected' },
      reason,
    });
    this.listener.out(name, person, reason);
    if (room.people.size === 0)
      this.world.after(EMPTY_MS, {
        place: 'cloud',
        what: `${name} is empty`,
        run: () => {
          if (this.#rooms.get(name) === room && room.people.size === 0) this.finish(name, 'room_closed');
        },
      });
  }

  change(name: string, identity: string, change: Partial<Participant>): void {
    const room = this.#rooms.get(name);
    const person = room?.people.get(identity);
    if (room === undefined || person === undefined) return;
    room.people.set(identity, { ...person, ...change });
    this.#changed(room);
    this.#tell(room, { kind: 'changed', roomSid: room.sid });
  }

  /** Gives or takes the permission to publish and to send data. */
  permit(name: string, identity: string, maySpeak: boolean): void {
    const room = this.#rooms.get(name);
    const person = room?.people.get(identity);
    if (room === undefined || person === undefined) return;
    const { listens: _old, ...rest } = person;
    room.people.set(
      identity,
      maySpeak ? { ...rest, audioTracks: 1 } : { ...rest, audioTracks: 0, listens: true },
    );
    this.#changed(room);
    this.#tell(room, { kind: 'changed', roomSid: room.sid });
  }

  finish(name: string, reason: DisconnectReason): void {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    for (const person of [...room.people.values()]) this.leave(name, person.sid, reason);
    this.#rooms.delete(name);
    this.#finished.set(room.sid, this.world.nowMs);
    this.#remember(name, { fromMs: this.world.nowMs, sid: null, people: [] });
    this.world.note('livekit', `${name} (${room.sid}) is closed`);
    this.#tell(room, { kind: 'finished', roomSid: room.sid });
  }

  #create(name: string): Room {
    const room: Room = {
      name,
      sid: `RM_${++this.#ids}`,
      createdWallMs: this.world.stamp.wallMs,
      people: new Map(),
    };
    this.#rooms.set(name, room);
    this.#created.set(room.sid, room.createdWallMs);
    return room;
  }

  #changed(room: Room): void {
    this.#remember(room.name, {
      fromMs: this.world.nowMs,
      sid: room.sid,
      people: [...room.people.values()],
    });
  }

  #remember(name: string, moment: Moment): void {
    const known = this.#history.get(name);
    if (known === undefined) this.#history.set(name, [moment]);
    else known.push(moment);
  }

  /** A webhook may be lost, late or sent twice. */
  #tell(room: Room, event: WebhookEvent): void {
    const { random } = this.world;
    if (random.chance(0.15)) return;
    const hook: Webhook = {
      id: `EV_${++this.#ids}`,
      room: room.name,
      atWallMs: Math.floor(this.world.stamp.wallMs / 1000) * 1000,
      event,
    };
    for (let copies = random.chance(0.1) ? 2 : 1; copies > 0; copies--)
      this.world.after(random.wait(300, 12_000), {
        place: 'supervisor',
        what: `webhook ${event.kind} of ${room.name}`,
        run: () => this.listener.webhook(hook),
      });
  }
}
