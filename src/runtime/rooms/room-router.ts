/** Which sessions and watches care about which room, and what LiveKit says of it. */

import type { RoomKey, SessionId, Stamp } from '../../core/ids.ts';
import { roomId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { decideWatch } from '../../core/rooms/kept-room.ts';
import type { RoomSnapshot } from '../../core/rooms/presence.ts';
import type { RefusedCall } from '../../core/rooms/refused-call.ts';
import { decideRefused } from '../../core/rooms/refused-call.ts';
import { callersIn, sideRoomOf } from '../../core/rooms/side-room.ts';
import { messageOf } from '../../lib/errors.ts';
import { WATCH } from '../../lib/limits/livekit-limits.ts';
import type { Log } from '../../ports/log.ts';
import type { Registry } from '../../ports/registry.ts';
import type { Rooms, RoomsListener } from '../../ports/rooms.ts';

export interface RoomRouterListener {
  post(id: SessionId, event: SessionEvent): void;
  postAll(event: SessionEvent): void;
}

interface Refused {
  readonly call: RefusedCall;
  /** Its own session, which has ended. */
  readonly by: SessionId | null;
  readonly ownJob: string | null;
}

export class RoomRouter implements RoomsListener {
  readonly #sessions = new Map<string, Set<SessionId>>();
  readonly #sides = new Map<string, Set<SessionId>>();
  readonly #watches = new Map<string, RoomWatch>();
  readonly #refused = new Map<string, Refused>();
  /** Kept rooms whose close is under way. */
  readonly #closing = new Set<string>();
  readonly #rooms: Rooms;
  readonly #registry: Registry;
  readonly #log: Log;
  readonly #listener: RoomRouterListener;
  #found: (room: RoomKey, roomSid: string) => void = () => undefined;

  constructor(
    deps: { readonly rooms: Rooms; readonly registry: Registry; readonly log: Log },
    listener: RoomRouterListener,
  ) {
    this.#rooms = deps.rooms;
    this.#registry = deps.registry;
    this.#log = deps.log;
    this.#listener = listener;
  }

  /** null: LiveKit was not asked yet. */
  get isReachable(): boolean | null {
    return this.#rooms.status()?.reachable ?? null;
  }

  /** Calls back for each room that the rooms port was asked to discover. */
  onFound(callback: (room: RoomKey, roomSid: string) => void): void {
    this.#found = callback;
  }

  async start(): Promise<void> {
    for (const watch of await this.#registry.watches()) this.#keep(watch);
    this.#rooms.start(this);
  }

  follow({ spec }: Session): void {
    this.#add(this.#sessions, spec.room, spec.id);
    const side = sideRoomOf(spec);
    if (side !== null) this.#add(this.#sides, side, spec.id);
  }

  unfollow({ spec }: Session): void {
    this.#remove(this.#sessions, spec.room, spec.id);
    const side = sideRoomOf(spec);
    if (side !== null) this.#remove(this.#sides, side, spec.id);
  }

  #add(map: Map<string, Set<SessionId>>, room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    map.set(key, (map.get(key) ?? new Set()).add(id));
    this.#rooms.follow(room);
  }

  #remove(map: Map<string, Set<SessionId>>, room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    const known = map.get(key);
    known?.delete(id);
    if (known !== undefined && known.size === 0) map.delete(key);
    this.#leave(room);
  }

  /** Nobody here cares about it any more. */
  #leave(room: RoomKey): void {
    const key = roomId(room);
    if (this.#sessions.has(key) || this.#sides.has(key) || this.#watches.has(key) || this.#refused.has(key))
      return;
    this.#rooms.unfollow(room);
  }

  /** A call that could not be taken: a phone that hears nothing is hung up on, for busy beats silence. */
  refused(room: RoomKey, { at, by, ownJob }: Omit<Refused, 'call'> & { at: Stamp }): void {
    if (this.#refused.has(roomId(room)) || this.isSharedWithOthers(room, by)) return;
    const call = { room, roomSid: null, dueMs: at.bootMs + WATCH.refusedMs };
    this.#keepRefused({ call, by, ownJob });
    this.#rooms.poll(room);
  }

  #keepRefused(one: Refused): void {
    this.#refused.set(roomId(one.call.room), one);
    this.#rooms.follow(one.call.room);
  }

  /** Another session works in this room or waits for it: nobody closes it. */
  isSharedWithOthers(room: RoomKey, id: SessionId | null): boolean {
    return [...(this.#sessions.get(roomId(room)) ?? [])].some((other) => other !== id);
  }

  isWatched(room: RoomKey, roomSid: string): boolean {
    return this.#watches.get(roomId(room))?.roomSid === roomSid;
  }

  watch(watch: RoomWatch): void {
    this.#keep(watch);
    this.#save(this.#registry.saveWatch(watch));
  }

  /** Into a database that knows none of them. */
  recordAll(): void {
    for (const watch of this.#watches.values()) this.#save(this.#registry.saveWatch(watch));
  }

  snapshot(room: RoomKey, observation: RoomSnapshot): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'room_snapshot', observation });
    for (const id of this.#sides.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'side_room_snapshot', callers: callersIn(observation) });
    this.#look(roomId(room), observation);
    this.#lookRefused(roomId(room), observation);
  }

  #lookRefused(key: string, observation: RoomSnapshot): void {
    const known = this.#refused.get(key);
    if (known === undefined) return;
    const { call, by } = known;
    const decided = decideRefused(call, observation);
    const isTaken = this.isSharedWithOthers(call.room, by);
    if (decided.action === 'wait' && !isTaken) {
      this.#refused.set(key, { ...known, call: decided.call });
      return;
    }
    this.#refused.delete(key);
    this.#leave(call.room);
    if (decided.action === 'close' && !isTaken) void this.#hangUp({ ...known, call: decided.call });
  }

  event(room: RoomKey, event: Parameters<RoomsListener['event']>[1]): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'room_event', event });
  }

  found(room: RoomKey, roomSid: string): void {
    this.#found(room, roomSid);
  }

  reachable(reachable: boolean): void {
    if (reachable) this.#log.info({}, 'LiveKit answers');
    else
      this.#log.warn(
        { error: this.#rooms.status()?.lastError ?? null },
        'LiveKit does not answer: nothing is ended for absence until it does',
      );
    this.#listener.postAll({ type: 'livekit', reachable });
  }

  /** What LiveKit does not answer is asked again with the next look. */
  async #hangUp(one: Refused): Promise<void> {
    const { room, roomSid } = one.call;
    const boundMs = WATCH.closeMs;
    const { outcome, detail } = await this.#rooms.closeRefused({
      room,
      roomSid,
      boundMs,
      ownJob: one.ownJob,
    });
    this.#log.info({ outcome, detail }, 'a phone whose call could not be taken is hung up on');
    if (outcome === 'failed' || outcome === 'timeout') this.#keepRefused(one);
  }

  #keep(watch: RoomWatch): void {
    this.#watches.set(roomId(watch.room), watch);
    this.#rooms.follow(watch.room);
  }

  /** A room in which a session works again is that session's; the watch ends. */
  #look(key: string, observation: RoomSnapshot): void {
    const watch = this.#watches.get(key);
    if (watch === undefined) return;
    const decided = decideWatch(watch, observation);
    if (decided.action === 'forget' || this.#sessions.has(key)) {
      this.#forget(key, watch);
      return;
    }
    this.#watches.set(key, decided.watch);
    if (decided.action === 'close') void this.#close(key, decided.watch);
  }

  #forget(key: string, watch: RoomWatch): void {
    this.#watches.delete(key);
    this.#leave(watch.room);
    this.#save(this.#registry.deleteWatch(watch.room));
  }

  /** What LiveKit does not answer is asked again with the next look. */
  async #close(key: string, watch: RoomWatch): Promise<void> {
    if (this.#closing.has(key)) return;
    this.#closing.add(key);
    const { room, roomSid, session } = watch;
    const { outcome } = await this.#rooms.closeRoom({
      do: 'close_room',
      room,
      roomSid,
      boundMs: WATCH.closeMs,
    });
    this.#closing.delete(key);
    const again = outcome === 'failed' || outcome === 'timeout';
    this.#log.info(
      { ...(session !== undefined && { session }), outcome },
      again
        ? 'a kept room could not be closed: it is tried again'
        : 'a kept room was closed: nobody is left to talk to',
    );
    if (!again && this.isWatched(room, roomSid)) this.#forget(key, watch);
  }

  /** A watch that could not be recorded is lost with the supervisor, no more: LiveKit closes an empty room itself. */
  #save(saving: Promise<void>): void {
    saving.catch((error: unknown) =>
      this.#log.warn({ error: messageOf(error) }, 'a kept room could not be recorded'),
    );
  }
}
