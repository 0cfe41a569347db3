/** How workers get into their rooms, as far as LiveKit itself said so. In memory only: these are secrets. */
import type { SessionId } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { TOKENS } from '../limits.ts';
import type { Rooms } from '../ports.ts';

export interface Access {
  /** null: the LiveKit that is configured. */
  readonly url: string | null;
  readonly token: string;
}

export class AccessBook {
  readonly #given = new Map<SessionId, Access>();

  /** With the assignment of the session's job. */
  give(id: SessionId, access: Access): void {
    this.#given.set(id, access);
  }

  forget(id: SessionId): void {
    this.#given.delete(id);
  }

  /** LiveKit's own token holds for an hour and was meant for the first worker; a later one gets one of ours. */
  async for({ spec, restarts }: Session, rooms: Rooms): Promise<{ url: string; token: string }> {
    const given = restarts === 0 ? this.#given.get(spec.id) : undefined;
    if (given !== undefined) return { url: given.url ?? rooms.url, token: given.token };
    const ttlMs = spec.limits.maxDurationMs + TOKENS.graceMs;
    const token = await rooms.workerToken({ room: spec.room, identity: spec.agentIdentity, ttlMs });
    return { url: rooms.url, token };
  }
}
