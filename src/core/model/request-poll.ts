/** Asks for a poll of the room. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Session } from './session.ts';
import type { Next } from './updates.ts';
import { stay, withVitals } from './updates.ts';

/** Nothing is asked for while a poll that will decide is on its way. A poll that was asked for before `dueMs` decides nothing. */
export function requestPoll(session: Session, dueMs: number, now: Stamp): Next {
  const { pollAskedMs } = session.vitals;
  const soon =
    pollAskedMs !== null && pollAskedMs >= dueMs && now.bootMs < pollAskedMs + DEADLINES.pollAgainMs;
  if (soon || !session.spec.livekit || !session.presence.reachable) return stay(session);
  return stay(withVitals(session, { pollAskedMs: now.bootMs }), [{ do: 'poll_room' }]);
}
