/** Room tokens for workers. A session's token is made while its first record is written, so that a warm worker does not wait for it. */
import type { SessionId } from '../../core/ids.ts';
import type { Acceptance } from '../../core/model/agent-answer.ts';
import type { LiveKitKeys } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { TOKENS } from '../../lib/limits/room-limits.ts';
import type { Rooms } from '../../ports/rooms.ts';
import type { StandIn } from '../../ports/stand-in.ts';

/** Both are empty without LiveKit. The worker still gets its session and room. */
export interface RoomAccess {
  readonly url: string;
  readonly token: string;
}

export class RoomTokens {
  readonly #rooms: Rooms | null;
  readonly #standIn: StandIn | null;
  readonly #prepared = new Map<SessionId, Promise<RoomAccess>>();

  constructor({ rooms, standIn }: { rooms: Rooms | null; standIn: StandIn | null }) {
    this.#rooms = rooms;
    this.#standIn = standIn;
  }

  prepare(session: Session): void {
    // Because: the token of a LiveKit agent depends on the agent's answer.
    if (this.#rooms === null || session.spec.profile.protocol === 'livekit') return;
    const made = this.#make(session);
    // `take` returns the same promise, so its caller gets the error.
    made.catch(() => undefined);
    this.#prepared.set(session.spec.id, made);
  }

  /** The token for one worker. The next worker gets its own. */
  take(session: Session): Promise<RoomAccess> {
    const { id } = session.spec;
    const prepared = this.#prepared.get(id);
    this.#prepared.delete(id);
    return prepared ?? this.#make(session);
  }

  /**
   * The token for a LiveKit agent, as the participant that the agent wants to be. The agent may see LiveKit at another address
   * than the supervisor, and with other keys.
   */
  async admit(session: Session, as: Acceptance): Promise<RoomAccess> {
    const own = (await this.#standIn?.livekitFor(session.spec.profile)) ?? null;
    return this.#make(session, { as, own });
  }

  forget(id: SessionId): void {
    this.#prepared.delete(id);
  }

  /** The token is valid for the session's room only, and for as long as the session may last. */
  async #make(
    { spec }: Session,
    agent?: { readonly as: Acceptance; readonly own: LiveKitKeys | null },
  ): Promise<RoomAccess> {
    if (this.#rooms === null) return { url: '', token: '' };
    const ttlMs = spec.limits.maxDurationMs + TOKENS.graceMs;
    const { room, agentIdentity: identity } = spec;
    const own = agent?.own ?? null;
    const token = await this.#rooms.workerToken({
      room,
      identity,
      ttlMs,
      ...(agent !== undefined && { as: agent.as }),
      ...(own !== null && { keys: own }),
    });
    return { url: own?.url.replace(/^http/, 'ws') ?? this.#rooms.url, token };
  }
}
