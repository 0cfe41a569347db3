/** The whole of a session's rules: `decide(state, event, now) → {state, effects}`. No clock, no I/O, no promise. */

import { decideAdopted } from '../adoption/adoption.ts';
import type { Stamp } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { PhaseName, Session } from '../model/session.ts';
import { awaitedWorkerId, isEnded, isIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay } from '../model/updates.ts';
import { endIfOver } from '../teardown/end-session.ts';
import { passClaim } from '../teardown/finishing.ts';
import { applyEvent } from './apply-event.ts';
import { CLOSING } from './closing.ts';
import { ENDED } from './ended.ts';
import type { HandlerTable, PhaseEvent } from './handler-table.ts';
import { handle } from './handler-table.ts';
import { dropStaleInference } from './inference.ts';
import { LIVE } from './live.ts';
import { QUEUED } from './queued.ts';
import { STARTING } from './starting.ts';

export const HANDLERS: { readonly [P in PhaseName]: HandlerTable<P> } = {
  queued: QUEUED,
  starting: STARTING,
  live: LIVE,
  closing: CLOSING,
  ended: ENDED,
};

/** Total: every event has an outcome in every phase. An ended session changes only by what becomes of its worker's tree. */
export function decide(session: Session, event: SessionEvent, now: Stamp): Next {
  if (event.type === 'adopted') return decideAdopted(session, event, { now, decide });
  const known = settle(session, event, now);
  const next = isLate(known, event) ? stay(known) : handleIn(known, event, now);
  const { state, effects } = next;
  if (!isIn(state, 'closing')) return next;
  return andThen({ state, effects }, (closing) => endIfOver(passClaim(closing, now), now));
}

/** Takes in the event's facts. An ended session has no use for them. */
function settle(session: Session, event: SessionEvent, now: Stamp): Session {
  if (isEnded(session)) return session;
  const known = applyEvent(session, event, now);
  return isIn(known, 'live') ? dropStaleInference(known, now) : known;
}

/** Race: an event of a worker that the session no longer holds. A grant names the worker that is still to come. */
function isLate(session: Session, event: SessionEvent): boolean {
  return event.type !== 'granted' && 'workerId' in event && event.workerId !== awaitedWorkerId(session);
}

function handleIn(session: Session, event: PhaseEvent, now: Stamp): Next {
  // The compiler cannot see that the table under a session's own phase takes that session.
  const table = HANDLERS[session.phase.name] as HandlerTable<PhaseName>;
  return handle(table, session, { event, now });
}
