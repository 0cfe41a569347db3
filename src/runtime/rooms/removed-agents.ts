/** Watches for the agents of ended sessions, and removes each one that comes back into its room while its token is valid. */
import type { RoomKey } from '../../core/ids.ts';
import { roomId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import type { Participant, RoomSnapshot } from '../../core/rooms/presence.ts';
import type { RemovedAgent } from '../../core/rooms/removed-agent.ts';
import {
  decideRemoved,
  firstToGo,
  isRemovedAgent,
  isThere,
  mergeRemoved,
  quietMsAfter,
} from '../../core/rooms/removed-agent.ts';
import { removedAgentOf } from '../../core/teardown/removal.ts';
import { messageOf } from '../../lib/errors.ts';
import { REMOVED } from '../../lib/limits/room-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { Registry } from '../../ports/registry.ts';
import type { RoomPace, Rooms } from '../../ports/rooms.ts';

export interface RemovedCounts {
  /** Agents that are watched for. */
  readonly watched: number;
  /** Watches that ended early, because there were too many. */
  readonly dropped: number;
  /** Removals of agents that had come back. */
  readonly removedAgain: number;
  /** Rooms that such an agent had made, and that were closed. */
  readonly roomsClosed: number;
}

export interface RemovedAgentsOptions {
  readonly rooms: Rooms;
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Pick<Registry, 'list'>;
  readonly instance: Pick<Instance, 'bootId'>;
  /** Whether a session goes on in the room, or waits for it. */
  readonly isUsed: (room: RoomKey) => boolean;
  /** The watch needs polls of the room at another pace. */
  readonly changed: (room: RoomKey) => void;
}

interface Place {
  /** By identity, oldest first. */
  readonly agents: Map<string, RemovedAgent>;
  /** The room in which the last snapshot showed somebody else; null: it showed nobody else. */
  othersIn: string | null;
  /** A room with a wanted name is held back until somebody else is in it. */
  isHeld: boolean;
}

export class RemovedAgents {
  readonly #options: RemovedAgentsOptions;
  readonly #places = new Map<string, Place>();
  /** Agents and rooms with a request to LiveKit under way. */
  readonly #busy = new Set<string>();
  #counts = { dropped: 0, removedAgain: 0, roomsClosed: 0 };

  constructor(options: RemovedAgentsOptions) {
    this.#options = options;
  }

  get counts(): RemovedCounts {
    return { watched: this.#all().length, ...this.#counts };
  }

  /** Watches again for the agents of the sessions on record. If the registry does not answer, it is asked again. */
  async restore(): Promise<void> {
    const { clock, log } = this.#options;
    try {
      const ended = await this.#readEnded();
      for (const session of ended.reverse()) this.note(session);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'the ended sessions could not be read: curfew tries again');
      clock.at(clock.now().bootMs + REMOVED.readAgainMs, () => void this.restore());
    }
  }

  /** Newest first. In pages, because a large answer would block the other work of the supervisor. */
  async #readEnded(): Promise<Session[]> {
    const { registry } = this.#options;
    const ended: Session[] = [];
    let cursor: string | null = null;
    do {
      const page = { states: ['released', 'failed'], limit: REMOVED.recordedPage };
      const answer = await registry.list({ ...page, ...(cursor !== null && { cursor }) });
      ended.push(...answer.sessions);
      cursor = answer.nextCursor;
    } while (cursor !== null && ended.length < REMOVED.recorded);
    return ended;
  }

  /** Watches for the agent of this session, if it was removed and its token is still valid. */
  note(session: Session): void {
    const { clock, instance } = this.#options;
    const agent = removedAgentOf(session, { now: clock.now(), bootId: instance.bootId });
    if (agent !== null) this.#add(agent);
  }

  #add(agent: RemovedAgent): void {
    const key = roomId(agent.room);
    const place = this.#places.get(key) ?? { agents: new Map(), othersIn: null, isHeld: false };
    const merged = mergeRemoved(place.agents.get(agent.identity), agent);
    // The newest stands last.
    place.agents.delete(agent.identity);
    place.agents.set(agent.identity, merged);
    this.#places.delete(key);
    this.#places.set(key, place);
    this.#dropOldest();
    this.#options.changed(agent.room);
  }

  #all(): RemovedAgent[] {
    return [...this.#places.values()].flatMap(({ agents }) => [...agents.values()]);
  }

  #dropOldest(): void {
    const all = this.#all();
    const oldest = all.length > REMOVED.most ? firstToGo(all) : undefined;
    if (oldest === undefined) return;
    this.#counts.dropped += 1;
    this.#forget(oldest);
  }

  #forget({ room, identity }: RemovedAgent): void {
    const place = this.#places.get(roomId(room));
    place?.agents.delete(identity);
    if (place?.agents.size === 0) this.#places.delete(roomId(room));
    this.#options.changed(room);
  }

  /** How the watch polls the room; null: it does not. An agent that came back once may do so again soon. */
  paceOf(room: RoomKey): RoomPace | null {
    const place = this.#places.get(roomId(room));
    if (place === undefined) return null;
    const isHunted = [...place.agents.values()].some(({ times }) => times > 0);
    return isHunted || place.isHeld ? 'each_round' : 'rarely';
  }

  /** Whether a room with a wanted name gets no session yet, because a removed agent alone can have made it. */
  holds(room: RoomKey, roomSid: string): boolean {
    const place = this.#places.get(roomId(room));
    if (place === undefined || place.othersIn === roomSid) return false;
    place.isHeld = true;
    this.#options.changed(room);
    this.#options.rooms.poll(room);
    return true;
  }

  /** Returns the room that is held back no longer; null: there is none. */
  snapshot(room: RoomKey, observation: RoomSnapshot): string | null {
    const place = this.#places.get(roomId(room));
    if (place === undefined) return null;
    const agents = [...place.agents.values()];
    const isOther = (one: Participant) => isThere(one) && !agents.some((agent) => isRemovedAgent(one, agent));
    place.othersIn = observation.participants.some(isOther) ? observation.roomSid : null;
    for (const agent of agents) this.#judge(agent, observation);
    if (!place.isHeld || place.othersIn === null) return null;
    place.isHeld = false;
    this.#options.changed(room);
    return place.othersIn;
  }

  #judge(before: RemovedAgent, observation: RoomSnapshot): void {
    const { agent, action } = decideRemoved(before, observation, this.#options.isUsed(before.room));
    if (action === 'forget') {
      this.#forget(agent);
      return;
    }
    this.#update(agent);
    if (action === 'remove') void this.#remove(agent);
    if (action === 'close' && agent.madeSid !== null) void this.#close(agent, agent.madeSid);
  }

  /** An agent whose watch ended meanwhile stays forgotten. */
  #update(agent: RemovedAgent): void {
    const agents = this.#places.get(roomId(agent.room))?.agents;
    if (agents?.has(agent.identity) === true) agents.set(agent.identity, agent);
  }

  /** If LiveKit does not answer, the next snapshot of the room tries again. */
  async #remove(agent: RemovedAgent): Promise<void> {
    const { rooms, clock, changed } = this.#options;
    const { room, identity } = agent;
    const key = `remove ${roomId(room)} ${identity}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    const { outcome } = await rooms.removeAgent({
      do: 'remove_agent',
      room,
      identity,
      boundMs: REMOVED.stepMs,
    });
    this.#busy.delete(key);
    if (outcome === 'done') this.#counts.removedAgain += 1;
    // Race: a later session of the room may have ended meanwhile, with the same identity.
    const now = this.#places.get(roomId(room))?.agents.get(identity) ?? agent;
    const times = now.times + 1;
    this.#logRemoval(now, { outcome, times });
    const quietUntilMs = clock.now().bootMs + quietMsAfter(now.times);
    this.#update({ ...now, times, quietUntilMs });
    changed(room);
    clock.at(quietUntilMs, () => rooms.poll(room));
    // At once, because an agent in a loop is back before the next snapshot.
    if (outcome === 'done' && agent.madeSid !== null) await this.#close(agent, agent.madeSid);
  }

  /** Because: an agent in an endless loop must not fill the log. */
  #logRemoval({ session }: RemovedAgent, { outcome, times }: { outcome: string; times: number }): void {
    if (Math.log2(times) % 1 !== 0) return;
    const message =
      outcome === 'done'
        ? 'the agent of an ended session was in its room again: it was removed'
        : 'the agent of an ended session is in its room again and could not be removed: curfew tries again';
    this.#options.log.warn({ session, outcome, times }, message);
  }

  /** If LiveKit does not answer, the next snapshot of the room tries again. */
  async #close({ room, session }: RemovedAgent, roomSid: string): Promise<void> {
    const key = `close ${roomSid}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    const { rooms, log } = this.#options;
    const { outcome } = await rooms.closeEmpty({ room, roomSid, boundMs: REMOVED.stepMs });
    this.#busy.delete(key);
    if (outcome !== 'done') return;
    this.#counts.roomsClosed += 1;
    log.info({ session, outcome }, 'the room that the agent of an ended session had made was closed');
  }
}
