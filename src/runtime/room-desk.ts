/** Which sessions and watches care about which room, and what LiveKit says of it. */

import type { SessionEvent } from '../core/event.ts';
import type { RoomKey, SessionId } from '../core/ids.ts';
import { roomId } from '../core/ids.ts';
import type { Observation } from '../core/presence.ts';
import type { RoomWatch } from '../core/watch.ts';
import { decideWatch } from '../core/watch.ts';
import { messageOf } from '../errors.ts';
import { WATCH } from '../limits.ts';
import type { Log, Registry, Rooms, RoomsListener } from '../ports.ts';

export interface RoomDeskListener {
  tell(id: SessionId, event: SessionEvent): void;
  tellAll(event: SessionEvent): void;
}

export class RoomDesk implements RoomsListener {
  readonly #sessions = new Map<string, Set<SessionId>>();
  readonly #watches = new Map<string, RoomWatch>();
  readonly #rooms: Rooms;
  readonly #registry: Registry;
  readonly #log: Log;
  readonly #listener: RoomDeskListener;

  constructor(deps: { rooms: Rooms; registry: Registry; log: Log }, listener: RoomDeskListener) {
    this.#rooms = deps.rooms;
    this.#registry = deps.registry;
    this.#log = deps.log;
    this.#listener = listener;
  }

  async start(): Promise<void> {
    for (const watch of await this.#registry.watches()) this.#keep(watch);
    this.#rooms.start(this);
  }

  follow(room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    const known = this.#sessions.get(key);
    if (known === undefined) this.#sessions.set(key, new Set([id]));
    else known.add(id);
    this.#rooms.follow(room);
  }

  unfollow(room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    const known = this.#sessions.get(key);
    known?.delete(id);
    if (known !== undefined && known.size === 0) this.#sessions.delete(key);
    if (!this.#sessions.has(key) && !this.#watches.has(key)) this.#rooms.unfollow(room);
  }

  /** Another session works in this room or waits for it: nobody closes it. */
  isSharedWithOthers(room: RoomKey, id: SessionId): boolean {
    return [...(this.#sessions.get(roomId(room)) ?? [])].some((other) => other !== id);
  }

  watch(watch: RoomWatch): void {
    this.#keep(watch);
    this.#save(this.#registry.saveWatch(watch));
  }

  /** Into a database that knows none of them. */
  recordAll(): void {
    for (const watch of this.#watches.values()) this.#save(this.#registry.saveWatch(watch));
  }

  observed(room: RoomKey, observation: Observation): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.tell(id, { type: 'observed', observation });
    this.#look(roomId(room), observation);
  }

  event(room: RoomKey, event: Parameters<RoomsListener['event']>[1]): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.tell(id, { type: 'room_event', event });
  }

  reachable(reachable: boolean): void {
    if (reachable) this.#log.info({}, 'LiveKit answers');
    else
      this.#log.warn(
        { error: this.#rooms.status()?.lastError ?? null },
        'LiveKit does not answer: nothing is ended for absence until it does',
      );
    this.#listener.tellAll({ type: 'livekit', reachable });
  }

  #keep(watch: RoomWatch): void {
    this.#watches.set(roomId(watch.room), watch);
    this.#rooms.follow(watch.room);
  }

  /** A room in which a session works again is that session's; the watch ends. */
  #look(key: string, observation: Observation): void {
    const watch = this.#watches.get(key);
    if (watch === undefined) return;
    const decided = decideWatch(watch, observation);
    const busy = this.#sessions.has(key);
    if (decided.action === 'wait' && !busy) {
      this.#watches.set(key, decided.watch);
      return;
    }
    this.#forget(key, watch);
    if (decided.action === 'close' && !busy) void this.#close(watch);
  }

  #forget(key: string, watch: RoomWatch): void {
    this.#watches.delete(key);
    if (!this.#sessions.has(key)) this.#rooms.unfollow(watch.room);
    this.#save(this.#registry.deleteWatch(watch.room));
  }

  async #close(watch: RoomWatch): Promise<void> {
    const result = await this.#rooms.closeRoom({
      do: 'close_room',
      room: watch.room,
      roomSid: watch.roomSid,
      boundMs: WATCH.closeMs,
    });
    this.#log.info({ outcome: result.outcome }, 'a kept room was closed: nobody is left to talk to');
  }

  /** A watch that could not be recorded is lost with the supervisor, no more: LiveKit closes an empty room itself. */
  #save(saving: Promise<void>): void {
    saving.catch((error: unknown) =>
      this.#log.warn({ error: messageOf(error) }, 'a kept room could not be recorded'),
    );
  }
}
