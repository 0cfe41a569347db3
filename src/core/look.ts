/** Asks for a look at the room, unless one that will decide is on its way. */
import { DEADLINES } from '../limits.ts';
import type { Stamp } from './ids.ts';
import type { Session } from './session.ts';
import type { Next } from './state.ts';
import { stay, withVitals } from './state.ts';

/** A look that was asked for before `dueMs` decides nothing, so another one is. */
export function lookIfAsked(session: Session, dueMs: number, now: Stamp): Next {
  const { lookAskedMs } = session.vitals;
  const soon =
    lookAskedMs !== null && lookAskedMs >= dueMs && now.bootMs < lookAskedMs + DEADLINES.lookAgainMs;
  if (soon || !session.spec.livekit || !session.presence.reachable) return stay(session);
  return stay(withVitals(session, { lookAskedMs: now.bootMs }), [{ do: 'look' }]);
}
