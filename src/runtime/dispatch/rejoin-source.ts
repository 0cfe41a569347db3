/** Callers that return to the room of an ended session: each gets a new session for the same call. */
import type { Profile } from '../../core/model/profile.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface RejoinSourceOptions {
  readonly deps: Pick<SupervisorDeps, 'clock' | 'registry' | 'log' | 'profileOf'>;
  readonly sessions: Pick<SessionHost, 'state'>;
  readonly roomRouter: Pick<RoomRouter, 'unwatch'>;
  readonly dispatcher: Pick<Dispatcher, 'rejoin'>;
  /** No session could begin, for example because no slot was free. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

/** Begins the next session of a watched room. Never rejects. */
export async function beginAgain(watch: RoomWatch, options: RejoinSourceOptions): Promise<void> {
  const { deps, sessions, roomRouter, dispatcher, onRefused } = options;
  const { session: id, rejoin, room } = watch;
  try {
    const before = id === undefined ? null : (sessions.state(id) ?? (await deps.registry.get(id)));
    const profile = before === null ? null : deps.profileOf(before.spec.profile.agent);
    if (before === null || profile === null || rejoin === undefined || profile.rejoin === 'off') {
      roomRouter.unwatch(room);
      return;
    }
    const restMs = Math.round(rejoin.endsAtMs - deps.clock.now().bootMs);
    const maxDurationMs = Math.min(before.spec.limits.maxDurationMs, restMs);
    try {
      await dispatcher.rejoin(before, { maxDurationMs, begunMs: rejoin.begunMs });
    } catch (error) {
      if (!(error instanceof CurfewError)) throw error;
      if (error.code !== 'room_taken') onRefused(room.name, profile);
    }
  } catch (error) {
    deps.log.error(
      { ...(id !== undefined && { session: id }), error: messageOf(error) },
      'a caller returned to its room, and no new session could begin',
    );
  }
}
