/** Routes what LiveKit reports of a room to the sessions, kept rooms and refused calls of that room. */

import type { RoomKey, SessionId, Stamp } from '../../core/ids.ts';
import { roomId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isIn } from '../../core/model/session.ts';
import { seenBy } from '../../core/rooms/ignored.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { decideWatch } from '../../core/rooms/kept-room.ts';
import type { IgnoreRule, RoomSnapshot } from '../../core/rooms/presence.ts';
import type { RefusedCall } from '../../core/rooms/refused-call.ts';
import { decideRefused } from '../../core/rooms/refused-call.ts';
import { decideRejoin } from '../../core/rooms/rejoin.ts';
import { callersIn, sideRoomOf } from '../../core/rooms/side-room.ts';
import { messageOf } from '../../lib/errors.ts';
import { WATCH } from '../../lib/limits/livekit-limits.ts';
import { REJOIN } from '../../lib/limits/session-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { Registry } from '../../ports/registry.ts';
import type { Rooms, RoomsListener } from '../../ports/rooms.ts';
import { RemovedAgents } from './removed-agents.ts';

export interface RoomRouterListener {
  post(id: SessionId, event: SessionEvent): void;
  postAll(event: SessionEvent): void;
  state(id: SessionId): Session | null;
}

interface Refused {
  readonly call: RefusedCall;
  /** The call's own session, which has ended; null: the call got no session. */
  readonly by: SessionId | null;
  /** LiveKit's job of the call; null: it has none. */
  readonly ownJob: string | null;
  /** Participants that the call's profile does not count as callers. */
  readonly ignore: IgnoreRule | undefined;
}

export class RoomRouter implements RoomsListener {
  readonly removed: RemovedAgents;
  readonly #sessions = new Map<string, Set<SessionId>>();
  readonly #sideRooms = new Map<string, Set<SessionId>>();
  /** For each session with a side room the participants that it does not count as callers. */
  readonly #ignores = new Map<SessionId, IgnoreRule>();
  readonly #watches = new Map<string, RoomWatch>();
  readonly #refused = new Map<string, Refused>();
  /** Kept rooms that are being closed. */
  readonly #closing = new Set<string>();
  /** Rooms in which the next session of a returned caller is being dispatched. */
  readonly #beginning = new Set<string>();
  readonly #rooms: Rooms;
  readonly #clock: Clock;
  readonly #registry: Registry;
  readonly #log: Log;
  readonly #listener: RoomRouterListener;
  #found: (room: RoomKey, roomSid: string) => void = () => undefined;
  #returned: (watch: RoomWatch) => Promise<void> = async () => undefined;

  constructor(
    deps: {
      readonly rooms: Rooms;
      readonly registry: Registry;
      readonly log: Log;
      readonly clock: Clock;
      readonly instance: Pick<Instance, 'bootId'>;
    },
    listener: RoomRouterListener,
  ) {
    this.#rooms = deps.rooms;
    this.#registry = deps.registry;
    this.#log = deps.log;
    this.#clock = deps.clock;
    this.#listener = listener;
    this.removed = new RemovedAgents({
      ...deps,
      isUsed: (room) => this.#hasOpenSession({ room }),
      changed: (room) => this.#setPace(room),
    });
  }

  /** null: LiveKit was not polled yet. */
  get isReachable(): boolean | null {
    return this.#rooms.status()?.reachable ?? null;
  }

  /** Calls back for each new room that matches the patterns given to the rooms port. */
  onFound(callback: (room: RoomKey, roomSid: string) => void): void {
    this.#found = callback;
  }

  /** Calls back when a caller has returned to a watched room. The callback dispatches the next session. */
  onReturned(callback: (watch: RoomWatch) => Promise<void>): void {
    this.#returned = callback;
  }

  async start(): Promise<void> {
    for (const watch of await this.#registry.watches()) this.#addWatch(watch);
    this.#rooms.start(this);
    void this.removed.restore();
  }

  follow({ spec }: Session): void {
    this.#add(this.#sessions, spec.room, spec.id);
    const side = sideRoomOf(spec);
    if (side === null) return;
    this.#add(this.#sideRooms, side, spec.id);
    if (spec.profile.ignore !== undefined) this.#ignores.set(spec.id, spec.profile.ignore);
  }

  unfollow({ spec }: Session): void {
    this.#remove(this.#sessions, spec.room, spec.id);
    const side = sideRoomOf(spec);
    if (side !== null) this.#remove(this.#sideRooms, side, spec.id);
    this.#ignores.delete(spec.id);
  }

  #add(map: Map<string, Set<SessionId>>, room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    map.set(key, (map.get(key) ?? new Set()).add(id));
    this.#setPace(room);
  }

  #remove(map: Map<string, Set<SessionId>>, room: RoomKey, id: SessionId): void {
    const key = roomId(room);
    const known = map.get(key);
    known?.delete(id);
    if (known !== undefined && known.size === 0) map.delete(key);
    this.#setPace(room);
  }

  /** Follows the room as a session, a watch or a refused call needs it. Unfollows a room that nothing needs. */
  #setPace(room: RoomKey): void {
    const needed = [this.#sessions, this.#sideRooms, this.#watches, this.#refused];
    const isNeeded = needed.some((one) => one.has(roomId(room)));
    const pace = isNeeded ? 'each_round' : this.removed.paceOf(room);
    if (pace === null) this.#rooms.unfollow(room);
    else this.#rooms.follow(room, pace);
  }

  /** A call was refused. A phone in the room is disconnected, because a busy tone is better than silence. */
  refused(room: RoomKey, { at, by, ownJob, ignore }: Omit<Refused, 'call'> & { at: Stamp }): void {
    if (this.#refused.has(roomId(room)) || this.isSharedWithOthers(room, by)) return;
    const call = { room, roomSid: null, dueMs: at.bootMs + WATCH.refusedMs };
    this.#addRefused({ call, by, ownJob, ignore });
    this.#rooms.poll(room);
  }

  #addRefused(one: Refused): void {
    this.#refused.set(roomId(one.call.room), one);
    this.#setPace(one.call.room);
  }

  /** Whether another session works in this room or waits for it. Then the room is not closed. */
  isSharedWithOthers(room: RoomKey, id: SessionId | null): boolean {
    return [...(this.#sessions.get(roomId(room)) ?? [])].some((other) => other !== id);
  }

  isWatched(room: RoomKey, roomSid: string): boolean {
    return this.#watches.get(roomId(room))?.roomSid === roomSid;
  }

  /** A watch for a returning caller is newer than the end of an earlier session of the room. */
  watch(watch: RoomWatch): void {
    const isLate = watch.rejoin === undefined && this.#hasOpenSession(watch);
    const isCovered =
      watch.rejoin === undefined && this.#watches.get(roomId(watch.room))?.rejoin !== undefined;
    if (isLate || isCovered) return;
    this.#addWatch(watch);
    this.#logFailedSave(this.#registry.saveWatch(watch));
  }

  /** Writes every watch into a new database. */
  recordAll(): void {
    for (const watch of this.#watches.values()) this.#logFailedSave(this.#registry.saveWatch(watch));
  }

  snapshot(room: RoomKey, observation: RoomSnapshot): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'room_snapshot', observation });
    for (const id of this.#sideRooms.get(roomId(room)) ?? [])
      this.#listener.post(id, {
        type: 'side_room_snapshot',
        callers: callersIn(seenBy(observation, this.#ignores.get(id))),
      });
    this.#updateWatch(roomId(room), observation);
    this.#updateRefused(roomId(room), observation);
    const found = this.removed.snapshot(room, observation);
    if (found !== null) this.#found(room, found);
  }

  #updateRefused(key: string, observation: RoomSnapshot): void {
    const known = this.#refused.get(key);
    if (known === undefined) return;
    const { call, by, ignore } = known;
    const decided = decideRefused(call, seenBy(observation, ignore));
    const isTaken = this.isSharedWithOthers(call.room, by);
    if (decided.action === 'wait' && !isTaken) {
      this.#refused.set(key, { ...known, call: decided.call });
      return;
    }
    this.#refused.delete(key);
    this.#setPace(call.room);
    if (decided.action === 'close' && !isTaken) void this.#closeRefused({ ...known, call: decided.call });
  }

  event(room: RoomKey, event: Parameters<RoomsListener['event']>[1]): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'room_webhook', event });
  }

  found(room: RoomKey, roomSid: string): void {
    if (!this.removed.holds(room, roomSid)) this.#found(room, roomSid);
  }

  reachable(reachable: boolean): void {
    if (reachable) this.#log.info({}, 'LiveKit answers');
    else
      this.#log.warn(
        { error: this.#rooms.status()?.lastError ?? null },
        'LiveKit does not answer: no session ends for absence until it does',
      );
    this.#listener.postAll({ type: 'livekit', reachable });
  }

  /** If LiveKit does not answer, the next snapshot of the room tries again. */
  async #closeRefused(one: Refused): Promise<void> {
    const { room, roomSid } = one.call;
    const boundMs = WATCH.closeMs;
    const { outcome, detail } = await this.#rooms.closeRefused({
      room,
      roomSid,
      boundMs,
      ownJob: one.ownJob,
    });
    this.#log.info({ outcome, detail }, 'the phone of a refused call is disconnected');
    if (outcome === 'failed' || outcome === 'timeout') this.#addRefused(one);
  }

  #addWatch(watch: RoomWatch): void {
    this.#watches.set(roomId(watch.room), watch);
    this.#setPace(watch.room);
  }

  /** When a session works in the room again, the room belongs to that session, and the watch ends. */
  #updateWatch(key: string, observation: RoomSnapshot): void {
    const watch = this.#watches.get(key);
    if (watch === undefined) return;
    if (watch.rejoin !== undefined) {
      this.#updateRejoin(key, { ...watch, rejoin: watch.rejoin }, observation);
      return;
    }
    const decided = decideWatch(watch, observation);
    if (decided.action === 'forget' || this.#sessions.has(key)) {
      this.#removeWatch(key, watch);
      return;
    }
    this.#watches.set(key, decided.watch);
    if (decided.action === 'close') void this.#closeWatched(key, decided.watch);
  }

  #updateRejoin(
    key: string,
    watch: RoomWatch & Required<Pick<RoomWatch, 'rejoin'>>,
    observation: RoomSnapshot,
  ): void {
    const { rejoin, action } = decideRejoin(watch, watch.rejoin, observation);
    if (action === 'forget' || this.#hasOpenSession(watch)) {
      this.#removeWatch(key, watch);
      return;
    }
    const next = { ...watch, rejoin };
    this.#watches.set(key, next);
    if (action === 'poll' && rejoin.callerSinceMs !== null)
      this.#clock.at(rejoin.callerSinceMs + REJOIN.afterMs, () => this.#rooms.poll(watch.room));
    if (action === 'begin') void this.#begin(key, next);
  }

  /** If no session can begin now, the next snapshot of the room tries again. */
  async #begin(key: string, watch: RoomWatch): Promise<void> {
    if (this.#beginning.has(key)) return;
    this.#beginning.add(key);
    await this.#returned(watch);
    this.#beginning.delete(key);
  }

  /** Whether a session works in the room, or waits for it. A session in its teardown does not. */
  #hasOpenSession({ room }: Pick<RoomWatch, 'room'>): boolean {
    return [...(this.#sessions.get(roomId(room)) ?? [])].some((id) => {
      const session = this.#listener.state(id);
      return session !== null && !isIn(session, 'closing', 'ended');
    });
  }

  /** No caller that returns gets a session any more. */
  unwatch(room: RoomKey): void {
    const watch = this.#watches.get(roomId(room));
    if (watch !== undefined) this.#removeWatch(roomId(room), watch);
  }

  #removeWatch(key: string, watch: RoomWatch): void {
    this.#watches.delete(key);
    this.#setPace(watch.room);
    this.#logFailedSave(this.#registry.deleteWatch(watch.room));
  }

  /** If LiveKit does not answer, the next snapshot of the room tries again. */
  async #closeWatched(key: string, watch: RoomWatch): Promise<void> {
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
        ? 'a kept room could not be closed: curfew tries again'
        : 'a kept room was closed: no caller has another participant to talk to',
    );
    if (!again && this.isWatched(room, roomSid)) this.#removeWatch(key, watch);
  }

  /** An unrecorded watch is lost with the supervisor. That is harmless, because LiveKit closes an empty room. */
  #logFailedSave(saving: Promise<void>): void {
    saving.catch((error: unknown) =>
      this.#log.warn({ error: messageOf(error) }, 'a kept room could not be recorded'),
    );
  }
}
