/** Callers that return to the room of an ended session: each gets a new session for the same call. */
import type { Profile } from '../../core/model/profile.ts';
import type { RoomWatch } from '../../core/rooms/kept-room.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { NotBegun, RoomWatches } from '../rooms/room-watches.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { Dispatcher } from './dispatcher.ts';

export interface RejoinSourceOptions {
  readonly deps: Pick<SupervisorDeps, 'clock' | 'registry' | 'log' | 'profileOf'>;
  readonly sessions: Pick<SessionHost, 'state'>;
  readonly watches: Pick<RoomWatches, 'unwatch'>;
  readonly dispatcher: Pick<Dispatcher, 'rejoin'>;
  /** The host takes no session now: it has no free slot, or it drains. */
  readonly onRefused: (room: string, profile: Profile) => void;
}

/** The host refuses the call. A phone must not wait, and the next snapshot tries again. */
const REFUSED: readonly string[] = ['at_capacity', 'draining'];
/** A state that passes soon. */
const BRIEF: readonly string[] = [...REFUSED, 'room_taken', 'stopping'];

/** Begins the next session of a watched room. Resolves with null when one began, or when none ever will. Never rejects. */
export async function beginAgain(watch: RoomWatch, options: RejoinSourceOptions): Promise<NotBegun | null> {
  const { deps, sessions, watches, dispatcher, onRefused } = options;
  const { session: id, rejoin, room } = watch;
  if (id === undefined) return null;
  try {
    const before = sessions.state(id) ?? (await deps.registry.get(id));
    const profile = before === null ? null : deps.profileOf(before.spec.profile.agent);
    if (before === null || profile === null || rejoin === undefined || profile.rejoin === 'off') {
      watches.unwatch(room, id);
      return null;
    }
    const restMs = Math.round(rejoin.endsAtMs - deps.clock.now().bootMs);
    const maxDurationMs = Math.min(before.spec.limits.maxDurationMs, restMs);
    try {
      await dispatcher.rejoin(before, { maxDurationMs, begunMs: rejoin.begunMs });
      return null;
    } catch (error) {
      if (!(error instanceof CurfewError)) throw error;
      if (REFUSED.includes(error.code)) onRefused(room.name, profile);
      return { why: error.code, isBrief: BRIEF.includes(error.code) };
    }
  } catch (error) {
    return { why: messageOf(error), isBrief: false };
  }
}
