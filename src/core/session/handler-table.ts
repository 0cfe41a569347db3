/** The outcome of every event in one phase. A table that lacks an event does not compile. */
import type { Stamp } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { PhaseName, Session, SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { stay } from '../model/updates.ts';

/** `adopted` stands for events that were not delivered. Each of them has its own handlers. */
export type PhaseEvent = Exclude<SessionEvent, { readonly type: 'adopted' }>;
type EventType = PhaseEvent['type'];

type Handler<P extends PhaseName, K extends EventType> = (
  session: SessionIn<P>,
  event: Extract<SessionEvent, { readonly type: K }>,
  now: Stamp,
) => Next;

export type HandlerTable<P extends PhaseName> = { readonly [K in EventType]: Handler<P, K> };

/** The event's facts are in the state already; nothing follows from them in this phase. */
export function ignore(session: Session): Next {
  return stay(session);
}

export function handle<P extends PhaseName>(
  table: HandlerTable<P>,
  session: SessionIn<P>,
  { event, now }: { event: PhaseEvent; now: Stamp },
): Next {
  // The compiler cannot see that the handler under an event's own type takes that event.
  const handler = table[event.type] as (session: SessionIn<P>, event: PhaseEvent, now: Stamp) => Next;
  return handler(session, event, now);
}
