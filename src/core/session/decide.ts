/** The whole of a session's rules: `decide(state, event, now) → {state, effects}`. No clock, no I/O, no promise. */

import type { Stamp } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Phase, Session } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { endingOf, stay, withPhase } from '../model/updates.ts';
import { applyEvent } from './apply-event.ts';
import { killLateSpawn, onClosing } from './closing.ts';
import { onLive } from './live.ts';
import { onQueued, onStarting } from './starting.ts';

/** Total: every event in every phase has an outcome, and an ended session never changes but for its worker's tree. */
export function decide(session: Session, event: SessionEvent, now: Stamp): Next {
  if (session.phase.name === 'ended') return onEnded(session, session.phase, { event, now });
  if (event.type === 'host_lost') return stay(loseNode(session, now));
  const known = applyEvent(session, event, now);
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
  if (event.type === 'tree' || event.type === 'spawn_failed') return stay(applyEvent(session, event, now));
  if (event.type !== 'spawned') return stay(session);
  return stay(applyEvent(session, event, now), killLateSpawn(phase, event.workerId));
}

/** Nothing is left to tear down; a session that was closing already keeps its first cause. */
function loseNode(session: Session, now: Stamp): Session {
  const { phase } = session;
  const lost = endingOf('node_lost', now, { cause: 'reboot', detail: 'the host was rebooted' });
  const base = { name: 'ended', endedAt: now, roomEnd: null } as const;
  switch (phase.name) {
    case 'queued':
      return withPhase(session, {
        ...base,
        startedAt: null,
        liveAt: null,
        ending: lost,
        worker: null,
        records: [],
      });
    case 'starting':
      return withPhase(session, {
        ...base,
        startedAt: phase.startedAt,
        liveAt: null,
        ending: lost,
        worker: null,
        records: [],
      });
    case 'live':
      return withPhase(session, {
        ...base,
        startedAt: phase.startedAt,
        liveAt: phase.liveAt,
        ending: lost,
        worker: null,
        records: [],
      });
    case 'closing': {
      const { startedAt, liveAt, ending, ladder } = phase;
      return withPhase(session, {
        ...base,
        startedAt,
        liveAt,
        ending,
        worker: null,
        records: ladder.records,
      });
    }
    case 'ended':
      return session;
  }
}
