/** Rooms by pattern: a room that begins and whose name an agent's `rooms` takes gets a session, once. */
import { dispatchSchema } from '../../api/session-schemas.ts';
import type { RoomKey } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { matchesWhole } from '../../core/workers/name-pattern.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import { isSideRoom, profilesNow } from './auto-dispatch.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface RoomSourceOptions {
  readonly deps: Pick<SupervisorDeps, 'rooms' | 'registry' | 'log' | 'agents' | 'profileOf'>;
  readonly sessions: SessionHost;
  /** null: no LiveKit. */
  readonly roomRouter: RoomRouter | null;
  readonly dispatcher: Dispatcher;
  /** A call that could not be taken for want of a place. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

/** So many rooms are remembered as seen to; one that is forgotten is found in the registry. */
const REMEMBERED = 10_000;

/** Of the sessions of one room's name, the newest are those of the room that is there now. */
const LOOKED_AT = 50;

export class RoomSource {
  readonly #options: RoomSourceOptions;
  /** Sids of rooms that need nothing more, or whose dispatch is under way. */
  readonly #seenTo = new Set<string>();

  constructor(options: RoomSourceOptions) {
    this.#options = options;
  }

  /** Asks to hear of the rooms that the config's patterns take now. */
  reload(): void {
    const patterns = this.#profiles().length;
    this.#options.deps.rooms?.discover(patterns === 0 ? null : (name) => this.#agentFor(name) !== null);
  }

  found(room: RoomKey, roomSid: string): void {
    const profile = this.#agentFor(room.name);
    const { sessions, roomRouter } = this.#options;
    if (profile === null || this.#seenTo.has(roomSid) || isSideRoom(sessions, room.name)) return;
    // Its session has ended and its callers talk on.
    if (roomRouter?.isWatched(room, roomSid) === true) return;
    this.#remember(roomSid);
    void this.#take(room, roomSid, profile);
  }

  /** The room's sid is the dispatch's id: a room whose session has ended gets no second one, also after a restart. */
  async #take(room: RoomKey, roomSid: string, profile: Profile): Promise<void> {
    const { dispatcher, onRefused, deps } = this.#options;
    try {
      if (await this.#wasServed(room, roomSid)) return;
      const request = dispatchSchema.parse({ room: room.name, agent: profile.agent, id: roomSid });
      await dispatcher.dispatch(request, { job: null, mayQueue: false, assignedWithinMs: null });
    } catch (error) {
      const code = error instanceof CurfewError ? error.code : 'internal';
      if (code === 'room_taken' || code === 'id_conflict') return;
      // A place may become free: the next look tries again.
      this.#seenTo.delete(roomSid);
      if (code === 'internal') deps.log.error({ error: messageOf(error) }, 'a room could not be taken');
      else onRefused(room.name, profile);
    }
  }

  /** By a session that came another way, whose id says nothing of the room. */
  async #wasServed(room: RoomKey, roomSid: string): Promise<boolean> {
    const { sessions, deps } = this.#options;
    const isOf = ({ presence }: Session) => presence.roomSid === roomSid;
    if (sessions.all().some(isOf)) return true;
    const recorded = await deps.registry.list({ room: room.name, limit: LOOKED_AT });
    return recorded.sessions.some(isOf);
  }

  #remember(roomSid: string): void {
    this.#seenTo.add(roomSid);
    const [oldest] = this.#seenTo;
    if (this.#seenTo.size > REMEMBERED && oldest !== undefined) this.#seenTo.delete(oldest);
  }

  /** The first in the config whose pattern takes it. */
  #agentFor(name: string): Profile | null {
    return this.#profiles().find((one) => one.rooms !== null && matchesWhole(name, one.rooms)) ?? null;
  }

  #profiles(): Profile[] {
    return profilesNow(this.#options.deps).filter((one) => one.rooms !== null);
  }
}
