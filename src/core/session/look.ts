/** Asks for a look at the room, unless one that will decide is on its way. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Session } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { stay, withVitals } from '../model/updates.ts';

/** A look that was asked for before `dueMs` decides nothing, so another one is. */
export function requestPoll(session: Session, dueMs: number, now: Stamp): Next {
  const { pollAskedMs: lookAskedMs } = session.vitals;
  const soon =
    lookAskedMs !== null && lookAskedMs >= dueMs && now.bootMs < lookAskedMs + DEADLINES.pollAgainMs;
  if (soon || !session.spec.livekit || !session.presence.reachable) return stay(session);
  return stay(withVitals(session, { pollAskedMs: now.bootMs }), [{ do: 'poll_room' }]);
}
