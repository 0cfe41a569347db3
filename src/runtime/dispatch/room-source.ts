/** Rooms by pattern: a new room with a name that matches an agent's `rooms` gets one session. */
import { dispatchSchema } from '../../api/session-schemas.ts';
import type { RoomKey } from '../../core/ids.ts';
import { sessionId } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { matchesWhole } from '../../core/name-pattern.ts';
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
  /** A call was refused, for example because no slot was free. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

/** The number of handled rooms in memory. An older room is found in the registry. */
const HANDLED_ROOMS = 10_000;

/** LiveKit lets nobody into such a room. The room counts as handled, so that the line comes once. */
const UNUSABLE_NAME =
  'a room that matches a pattern gets no session: its name has more than 256 bytes or characters that cannot be printed';

/** The number of sessions with the room's name that are searched. The newest are those of the current room. */
const NEWEST_SESSIONS = 50;

export class RoomSource {
  readonly #options: RoomSourceOptions;
  /** Sids of rooms that need no dispatch any more, or that have one in progress. */
  readonly #handled = new Set<string>();

  constructor(options: RoomSourceOptions) {
    this.#options = options;
  }

  /** Asks the rooms port to report the rooms that match the config's patterns. */
  reload(): void {
    const patterns = this.#profiles().length;
    this.#options.deps.rooms?.discover(patterns === 0 ? null : (name) => this.#agentFor(name) !== null);
  }

  found(room: RoomKey, roomSid: string): void {
    const profile = this.#agentFor(room.name);
    const { sessions, roomRouter } = this.#options;
    if (profile === null || this.#handled.has(roomSid) || isSideRoom(sessions, room.name)) return;
    // The room's session has ended, and its callers are still in the room.
    if (roomRouter?.watches.isWatched(room, roomSid) === true) return;
    this.#remember(roomSid);
    void this.#dispatchRoom(room, roomSid, profile);
  }

  /** The room's sid is the dispatch's id. So a room gets no second session after the first has ended, also after a restart. */
  async #dispatchRoom(room: RoomKey, roomSid: string, profile: Profile): Promise<void> {
    const { dispatcher, onRefused, deps } = this.#options;
    try {
      const asked = dispatchSchema.safeParse({ room: room.name, agent: profile.agent, id: roomSid });
      if (!asked.success) return deps.log.warn({ agent: profile.agent }, UNUSABLE_NAME);
      if (await this.#hadSession(room, roomSid)) return;
      await dispatcher.dispatch(asked.data, { job: null, mayQueue: false, assignedWithinMs: null });
    } catch (error) {
      const code = error instanceof CurfewError ? error.code : 'internal';
      if (code === 'room_taken' && this.#isOfOlderRoom(error, roomSid)) {
        this.#handled.delete(roomSid);
        return;
      }
      if (code === 'room_taken' || code === 'id_conflict') return;
      // A slot may become free, so the next poll tries again.
      this.#handled.delete(roomSid);
      if (code === 'internal') deps.log.error({ error: messageOf(error) }, 'a room could not get a session');
      else onRefused(room.name, profile);
    }
  }

  /** Race: a caller is back in a new room while the session of the older room still ends. The next poll tries again. */
  #isOfOlderRoom(error: unknown, roomSid: string): boolean {
    const holder = error instanceof CurfewError ? error.facts.holder : null;
    const known = typeof holder === 'string' ? this.#options.sessions.state(sessionId(holder)) : null;
    const of = known?.presence.roomSid ?? null;
    return of !== null && of !== roomSid;
  }

  /** Whether the room has or had a session from another source. Such a session has another id than the room's sid. */
  async #hadSession(room: RoomKey, roomSid: string): Promise<boolean> {
    const { sessions, deps } = this.#options;
    const isOf = ({ presence }: Session) => presence.roomSid === roomSid;
    if (sessions.all().some(isOf)) return true;
    const recorded = await deps.registry.list({ room: room.name, limit: NEWEST_SESSIONS });
    return recorded.sessions.some(isOf);
  }

  #remember(roomSid: string): void {
    this.#handled.add(roomSid);
    const [oldest] = this.#handled;
    if (this.#handled.size > HANDLED_ROOMS && oldest !== undefined) this.#handled.delete(oldest);
  }

  /** The first agent in the config with a pattern that matches the name. */
  #agentFor(name: string): Profile | null {
    return this.#profiles().find((one) => one.rooms !== null && matchesWhole(name, one.rooms)) ?? null;
  }

  #profiles(): Profile[] {
    return profilesNow(this.#options.deps).filter((one) => one.rooms !== null);
  }
}
