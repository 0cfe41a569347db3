/** Each session's way into its room: its token is made while its first record is written, so that a warm worker does not wait for it. */
import type { SessionId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { TOKENS } from '../../lib/limits/room-limits.ts';
import type { Rooms } from '../../ports/rooms.ts';

/** Without LiveKit both are empty: a worker is told its session and room all the same. */
export interface RoomAccess {
  readonly url: string;
  readonly token: string;
}

export class RoomTokens {
  readonly #rooms: Rooms | null;
  readonly #prepared = new Map<SessionId, Promise<RoomAccess>>();

  constructor(rooms: Rooms | null) {
    this.#rooms = rooms;
  }

  prepare(session: Session): void {
    if (this.#rooms === null) return;
    const made = this.#make(session);
    // Whoever takes it hears of it.
    made.catch(() => undefined);
    this.#prepared.set(session.spec.id, made);
  }

  /** For one worker; the next one gets its own. */
  take(session: Session): Promise<RoomAccess> {
    const { id } = session.spec;
    const prepared = this.#prepared.get(id);
    this.#prepared.delete(id);
    return prepared ?? this.#make(session);
  }

  forget(id: SessionId): void {
    this.#prepared.delete(id);
  }

  /** The session's room alone, for as long as the session may last. */
  async #make({ spec }: Session): Promise<RoomAccess> {
    if (this.#rooms === null) return { url: '', token: '' };
    const ttlMs = spec.limits.maxDurationMs + TOKENS.graceMs;
    const token = await this.#rooms.workerToken({ room: spec.room, identity: spec.agentIdentity, ttlMs });
    return { url: this.#rooms.url, token };
  }
}
