/** The whole of a session's rules: `decide(state, event, now) → {state, effects}`. No clock, no I/O, no promise. */
import { lateBirth, onClosing } from './closing.ts';
import type { SessionEvent } from './event.ts';
import { takeIn } from './facts.ts';
import type { Stamp } from './ids.ts';
import { onLive } from './live.ts';
import type { Phase, Session } from './session.ts';
import { onQueued, onStarting } from './start.ts';
import type { Next } from './state.ts';
import { stay } from './state.ts';

/** Total: every event in every phase has an outcome, and an ended session never changes but for its worker's tree. */
export function decide(session: Session, event: SessionEvent, now: Stamp): Next {
  if (session.phase.name === 'ended') return onEnded(session, session.phase, { event, now });
  const known = takeIn(session, event, now);
  switch (known.phase.name) {
    case 'queued':
      return onQueued(known, event, now);
    case 'starting':
      return onStarting(known, event, now);
    case 'live':
      return onLive(known, event, now);
    case 'closing':
      return onClosing(known, event, now);
    case 'ended':
      return stay(known);
  }
}

/** Nothing changes for the public; a worker that outlived its session is still followed to its end. */
function onEnded(
  session: Session,
  phase: Extract<Phase, { name: 'ended' }>,
  { event, now }: { event: SessionEvent; now: Stamp },
): Next {
  if (event.type === 'tree') return stay(takeIn(session, event, now));
  if (event.type !== 'spawned') return stay(session);
  return stay(takeIn(session, event, now), lateBirth(phase, event.workerId));
}
