/**
 * The beginning of a teardown: two tracks of bounded steps, side by side.
 * The first cause never changes. If nothing kills the process, the reason becomes `unkillable`, and the detail keeps the first reason.
 */
import type { Stamp } from '../ids.ts';
import { reportEnd } from '../model/livekit-job.ts';
import type { Ending, Ladder, OpenSession, ProcessStep, Session, SessionIn } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, enterPhase, stay } from '../model/updates.ts';
import type { RunningWorker, Worker } from '../model/worker.ts';
import { countSide } from '../rooms/presence.ts';
import { enterStep } from './process-track.ts';
import { watchForReturn } from './rejoin-rule.ts';

type Closing = SessionIn<'closing'>;

export function startTeardown(session: OpenSession, ending: Ending, now: Stamp): Next<Closing> {
  const worker = workerOf(session);
  const first = firstStep(worker, ending);
  const isCallerGone = noCallerLeft(session);
  const ladder: Ladder = {
    process: { step: first, deadlineMs: now.bootMs },
    room: { step: 'waiting', deadlineMs: now.bootMs },
    records: [],
    unkillable: false,
    wrapUp:
      (first === 'aclose' || first === 'reconnecting') &&
      ending.reason !== 'shutdown' &&
      // The caller that is back gets another agent, and this one may write its notes.
      (ending.cause === 'agent_session_closed' || isCallerGone),
    successor: false,
    roomEnd: null,
    ...(session.presence.callersSeen && isCallerGone && { callersLeft: true }),
  };
  // Because: LiveKit takes an agent that left for a failed job. So it hears of the end before the agent leaves.
  const informed = stay(
    enterPhase<'closing'>(
      session,
      { name: 'closing', ending, worker, ladder },
      { startedAt: session.startedAt, liveAt: session.liveAt, endedAt: null },
    ),
    reportEnd(session, ending),
  );
  const watched = andThen(informed, (next) => stay(next, watchForReturn(next, now)));
  return andThen(watched, (next) => enterStep(next, first, now));
}

function firstStep(worker: Worker | null, ending: Ending): ProcessStep {
  switch (worker?.stage) {
    case undefined:
    case 'gone':
      return 'over';
    case 'exited':
      return 'reap';
    case 'launching':
      return 'spawning';
    case 'running':
      return firstAsked(worker, ending);
  }
}

/** A worker that cannot hear is not asked. A worker that is done, or can do no more, need not be asked to close. */
function firstAsked({ channel }: RunningWorker, { reason, cause }: Ending): ProcessStep {
  const isDeaf = reason === 'unresponsive' || reason === 'memory_limit';
  if (channel === 'none' || isDeaf) return 'term';
  if (cause === 'closed' || cause === 'failed') return 'disconnect';
  return channel === 'open' ? 'aclose' : 'reconnecting';
}

function noCallerLeft({ presence, spec }: Session): boolean {
  if (!spec.livekit || !presence.reachable || presence.asOf === null) return false;
  return countSide(presence, spec.agentIdentity, 'caller') === 0;
}
