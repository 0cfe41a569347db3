/** The watches on rooms whose session has ended: kept rooms, and rooms to which a caller may return. */
import type { ClaimKey, RoomKey, SessionId } from '../../core/ids.ts';
import { roomId } from '../../core/ids.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { decideWatch, watchKey } from '../../core/rooms/kept-room.ts';
import type { RoomSnapshot } from '../../core/rooms/presence.ts';
import { decideRejoin } from '../../core/rooms/rejoin.ts';
import { inThisBoot } from '../../core/rooms/watch-boot.ts';
import { messageOf } from '../../lib/errors.ts';
import { WATCH } from '../../lib/limits/livekit-limits.ts';
import { REJOIN } from '../../lib/limits/session-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { Registry } from '../../ports/registry.ts';
import type { Rooms } from '../../ports/rooms.ts';

type RejoinWatch = RoomWatch & Required<Pick<RoomWatch, 'rejoin'>>;

/** Why no next session began. `isBrief`: the next snapshot may try again. */
export interface NotBegun {
  readonly why: string;
  readonly isBrief: boolean;
}

/** Dispatches the next session of a watched room. Resolves with null when one began, or when none ever will. */
export type BeginNext = (watch: RoomWatch) => Promise<NotBegun | null>;

export interface RoomWatchesOptions {
  readonly rooms: Rooms;
  readonly registry: Registry;
  readonly log: Log;
  readonly clock: Clock;
  readonly instance: Pick<Instance, 'bootId'>;
  /** Whether a session works in the room, or waits for it. `claim`: only a session with this claim; absent: any. */
  readonly hasOpenSession: (room: RoomKey, claim?: ClaimKey) => boolean;
  /** Whether any session of the room is known, a closing one included. */
  readonly hasSession: (room: RoomKey) => boolean;
  readonly changed: (room: RoomKey) => void;
}

export class RoomWatches {
  readonly #options: RoomWatchesOptions;
  /** By room, then by the key of the watch. */
  readonly #rooms = new Map<string, Map<string, RoomWatch>>();
  /** Kept rooms that are being closed. */
  readonly #closing = new Set<string>();
  /** Watches whose next session is being dispatched. */
  readonly #beginning = new Set<string>();
  /** The last refusals in a row of a watch's next session. */
  readonly #refusals = new Map<string, NotBegun & { readonly times: number; readonly againAtMs: number }>();
  #begin: BeginNext = async () => null;

  constructor(options: RoomWatchesOptions) {
    this.#options = options;
  }

  onReturned(begin: BeginNext): void {
    this.#begin = begin;
  }

  async restore(): Promise<void> {
    const { registry, clock, instance } = this.#options;
    const now = clock.now();
    for (const one of await registry.watches()) this.#add(inThisBoot(one, { now, bootId: instance.bootId }));
  }

  has(room: RoomKey): boolean {
    return this.#rooms.has(roomId(room));
  }

  /** `claim`: only a watch for the callers of this claim counts; absent: any. */
  isWatched(room: RoomKey, roomSid: string, claim?: ClaimKey): boolean {
    return this.#of(room).some(
      (one) => one.roomSid === roomSid && (claim === undefined || one.claim === claim),
    );
  }

  /** A watch for a returning caller is newer than the end of an earlier session of the room. */
  watch(watch: RoomWatch): void {
    const { room } = watch;
    const isLate = watch.rejoin === undefined && this.#options.hasOpenSession(room);
    const isCovered = watch.rejoin === undefined && this.#of(room).some(({ rejoin }) => rejoin !== undefined);
    if (isLate || isCovered) return;
    this.#add(watch);
    this.#logFailedSave(this.#options.registry.saveWatch(watch));
  }

  /** Writes every watch into a new database. */
  recordAll(): void {
    for (const room of this.#rooms.values())
      for (const watch of room.values()) this.#logFailedSave(this.#options.registry.saveWatch(watch));
  }

  /** No caller that returns after this session gets another one. */
  unwatch(room: RoomKey, session: SessionId): void {
    for (const one of this.#of(room))
      if (one.session === session && one.rejoin !== undefined) this.#remove(one);
  }

  snapshot(room: RoomKey, observation: RoomSnapshot): void {
    for (const watch of this.#of(room)) {
      if (watch.rejoin === undefined) this.#updateKept(watch, observation);
      else this.#updateRejoin({ ...watch, rejoin: watch.rejoin }, observation);
    }
  }

  #of(room: RoomKey): RoomWatch[] {
    return [...(this.#rooms.get(roomId(room))?.values() ?? [])];
  }

  #add(watch: RoomWatch): void {
    const id = roomId(watch.room);
    this.#rooms.set(id, (this.#rooms.get(id) ?? new Map()).set(watchKey(watch), watch));
    this.#refusals.delete(watchKey(watch));
    this.#options.changed(watch.room);
  }

  /** The watch as the last snapshot left it. */
  #note(watch: RoomWatch): void {
    this.#rooms.get(roomId(watch.room))?.set(watchKey(watch), watch);
  }

  #remove(watch: RoomWatch): void {
    const id = roomId(watch.room);
    const known = this.#rooms.get(id);
    known?.delete(watchKey(watch));
    if (known?.size === 0) this.#rooms.delete(id);
    this.#refusals.delete(watchKey(watch));
    this.#options.changed(watch.room);
    this.#logFailedSave(this.#options.registry.deleteWatch(watch));
  }

  /** When a session works in the room again, the room belongs to that session, and the watch ends. */
  #updateKept(watch: RoomWatch, observation: RoomSnapshot): void {
    const decided = decideWatch(watch, observation);
    if (decided.action === 'forget' || this.#options.hasSession(watch.room)) {
      this.#remove(watch);
      return;
    }
    this.#note(decided.watch);
    if (decided.action === 'close') void this.#close(decided.watch);
  }

  #updateRejoin(watch: RejoinWatch, observation: RoomSnapshot): void {
    const { clock, rooms, log } = this.#options;
    const { rejoin, action } = decideRejoin(watch, watch.rejoin, observation);
    const isTaken = this.#options.hasOpenSession(watch.room, watch.claim);
    if (action === 'forget' || isTaken) {
      log.debug({ session: watch.session, isTaken }, 'the watch for a returning caller is over');
      this.#remove(watch);
      return;
    }
    const next = { ...watch, rejoin };
    this.#note(next);
    if (action === 'poll' && rejoin.callerSinceMs !== null)
      clock.at(rejoin.callerSinceMs + REJOIN.afterMs, () => rooms.poll(watch.room));
    const againAtMs = this.#refusals.get(watchKey(watch))?.againAtMs ?? 0;
    if (action === 'begin' && observation.asOf.bootMs >= againAtMs) void this.#beginOne(next);
  }

  async #beginOne(watch: RoomWatch): Promise<void> {
    const key = watchKey(watch);
    if (this.#beginning.has(key)) return;
    this.#beginning.add(key);
    const refused = await this.#begin(watch);
    this.#beginning.delete(key);
    if (refused !== null) this.#refuse(watch, refused);
    // Because: the next session may end before a snapshot shows it, for example when its agent rejects it.
    else if (this.#rooms.get(roomId(watch.room))?.get(key)?.session === watch.session) this.#remove(watch);
  }

  /** One line for each new reason, so that a full host does not fill the log. */
  #refuse(watch: RoomWatch, { why, isBrief }: NotBegun): void {
    const { clock, log } = this.#options;
    const key = watchKey(watch);
    const last = this.#refusals.get(key);
    const times = last?.why === why ? last.times + 1 : 1;
    const againAtMs = isBrief ? 0 : clock.now().bootMs + REJOIN.againMs;
    this.#refusals.set(key, { why, isBrief, times, againAtMs });
    // A dispatch that came first has the claim. It ends the watch, so that a second refusal is worth the line.
    if (times !== (why === 'room_taken' ? 2 : 1)) return;
    log.warn(
      { session: watch.session, why },
      'a caller returned to the room of this session, and no next session could begin; curfew tries again',
    );
  }

  /** If LiveKit does not answer, the next snapshot of the room tries again. */
  async #close(watch: RoomWatch): Promise<void> {
    const { room, roomSid, session } = watch;
    const { rooms, log } = this.#options;
    const key = watchKey(watch);
    if (this.#closing.has(key)) return;
    this.#closing.add(key);
    const { outcome } = await rooms.closeRoom({ do: 'close_room', room, roomSid, boundMs: WATCH.closeMs });
    this.#closing.delete(key);
    const again = outcome === 'failed' || outcome === 'timeout';
    log.info(
      { ...(session !== undefined && { session }), outcome },
      again
        ? 'a kept room could not be closed: curfew tries again'
        : 'a kept room was closed: no caller has another participant to talk to',
    );
    if (!again && this.#rooms.get(roomId(room))?.get(key)?.roomSid === roomSid) this.#remove(watch);
  }

  /** An unrecorded watch is lost with the supervisor. That is harmless, because LiveKit closes an empty room. */
  #logFailedSave(saving: Promise<void>): void {
    saving.catch((error: unknown) =>
      this.#options.log.warn({ error: messageOf(error) }, 'a kept room could not be recorded'),
    );
  }
}
