/** Routes what LiveKit reports of a room to the sessions, kept rooms and refused calls of that room. */

import type { ClaimKey, RoomKey, SessionId, Stamp } from '../../core/ids.ts';
import { roomId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isIn } from '../../core/model/session.ts';
import { seenBy } from '../../core/rooms/ignored.ts';
import type { IgnoreRule, RoomSnapshot } from '../../core/rooms/presence.ts';
import type { RefusedCall } from '../../core/rooms/refused-call.ts';
import { decideRefused } from '../../core/rooms/refused-call.ts';
import { callersIn, sideRoomOf } from '../../core/rooms/side-room.ts';
import { WATCH } from '../../lib/limits/livekit-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { Registry } from '../../ports/registry.ts';
import type { Rooms, RoomsListener } from '../../ports/rooms.ts';
import { RemovedAgents } from './removed-agents.ts';
import { RoomWatches } from './room-watches.ts';

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
  readonly watches: RoomWatches;
  readonly #sessions = new Map<string, Set<SessionId>>();
  readonly #sideRooms = new Map<string, Set<SessionId>>();
  /** For each session with a side room the participants that it does not count as callers. */
  readonly #ignores = new Map<SessionId, IgnoreRule>();
  readonly #refused = new Map<string, Refused>();
  readonly #rooms: Rooms;
  readonly #log: Log;
  readonly #listener: RoomRouterListener;
  #found: (room: RoomKey, roomSid: string) => void = () => undefined;

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
    this.#log = deps.log;
    this.#listener = listener;
    const changed = (room: RoomKey) => this.#setPace(room);
    const hasOpenSession = (room: RoomKey, claim?: ClaimKey) => this.#hasOpenSession(room, claim);
    this.removed = new RemovedAgents({ ...deps, isUsed: hasOpenSession, changed });
    const hasSession = (room: RoomKey) => this.#sessions.has(roomId(room));
    this.watches = new RoomWatches({ ...deps, hasOpenSession, hasSession, changed });
  }

  /** null: LiveKit was not polled yet. */
  get isReachable(): boolean | null {
    return this.#rooms.status()?.reachable ?? null;
  }

  /** Calls back for each new room that matches the patterns given to the rooms port. */
  onFound(callback: (room: RoomKey, roomSid: string) => void): void {
    this.#found = callback;
  }

  async start(): Promise<void> {
    await this.watches.restore();
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
    const needed = [this.#sessions, this.#sideRooms, this.#refused];
    const isNeeded = needed.some((one) => one.has(roomId(room))) || this.watches.has(room);
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

  snapshot(room: RoomKey, observation: RoomSnapshot): void {
    for (const id of this.#sessions.get(roomId(room)) ?? [])
      this.#listener.post(id, { type: 'room_snapshot', observation });
    for (const id of this.#sideRooms.get(roomId(room)) ?? [])
      this.#listener.post(id, {
        type: 'side_room_snapshot',
        callers: callersIn(seenBy(observation, this.#ignores.get(id))),
      });
    this.watches.snapshot(room, observation);
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

  /** Whether a session works in the room, or waits for it. A session in its teardown does not. `claim`: only one with this claim. */
  #hasOpenSession(room: RoomKey, claim?: ClaimKey): boolean {
    return [...(this.#sessions.get(roomId(room)) ?? [])].some((id) => {
      const session = this.#listener.state(id);
      if (session === null || isIn(session, 'closing', 'ended')) return false;
      return claim === undefined || session.spec.claim === claim;
    });
  }
}
