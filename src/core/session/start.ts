/** The start of a session: its first worker is spawned, or the reserved warm one gets its room. A next session needs its caller. */
import { BACKOFF } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { Ending, PhaseOf, Session, SessionIn, Warm } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, enterPhase, newWorker, stay, withPhase, withVitals } from '../model/updates.ts';
import type { Worker, WorkerProcess } from '../model/worker.ts';
import { isWarm } from '../model/worker.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import { ABSENCES } from './absence.ts';
import { welcome } from './handshake.ts';

type Queued = SessionIn<'queued'>;

export function start(session: Queued, now: Stamp): Next {
  const { grant } = session.phase;
  if (grant === null) return stay(session);
  const { worker, effects } = firstWorker(session, grant, now);
  const begun = isWarm(worker) ? { ...session, warmWorker: worker.id } : session;
  const started = enterPhase<'starting'>(
    begun,
    { name: 'starting', worker },
    { startedAt: now, liveAt: null, endedAt: null },
  );
  const left = callerLeftAgain(started, now);
  if (left !== null) return startTeardown(session, left, now);
  const told = [...greeting(started), ...effects];
  if (!session.spec.livekit) return stay(started, told);
  // The first poll shows whether the room was there before the session.
  return stay(withVitals(started, { pollAskedMs: now.bootMs }), [...told, { do: 'poll_room' }]);
}

/** The start was not tried, because it could not be recorded. The time until the worker must be ready does not begin again. */
export function startAgain(session: SessionIn<'starting'>, now: Stamp): Next {
  const { id, attempt, readyByMs } = session.phase.worker;
  const worker = { ...newWorker(session, { id, attempt, now }), readyByMs };
  return stay(withPhase(session, { name: 'starting', worker }), [{ do: 'spawn', workerId: id, attempt }]);
}

/** The caller returned, and left again while the session waited. A snapshot made after the grace shows it. */
function callerLeftAgain(session: SessionIn<'starting'>, now: Stamp): Ending | null {
  const { spec, presence } = session;
  const absence = ABSENCES.callers_left(session);
  const asOfMs = presence.asOf?.bootMs ?? Number.NEGATIVE_INFINITY;
  const isSure = spec.rejoin !== undefined && presence.reachable;
  return isSure && absence !== null && asOfMs >= absence.dueMs
    ? endingOf(absence.reason, now, absence)
    : null;
}

/**
 * The warm LiveKit agent got the pool's welcome, which names no job. The job of the agent connects to the control socket later,
 * and the welcome of its session waits for it.
 */
function greeting(session: Session): Effect[] {
  const worker = workerOf(session);
  const isOfPool = worker !== null && isWarm(worker);
  return isOfPool && session.spec.profile.protocol === 'livekit' ? welcome(session) : [];
}

/** A replacement runs already as a warm worker, and only needs its room. Its id is remembered, because it is not made from the session's. */
export function takeWarm(session: SessionIn<'live'>, { id, process }: Warm, now: Stamp): Next {
  const { phase, warmLater = [] } = session;
  if (phase.work.kind !== 'running' || phase.work.worker.stage !== 'launching') return stay(session);
  const { attempt } = phase.work.worker;
  const worker = assigned(newWorker(session, { id, attempt, now }), process);
  const taken = {
    ...withPhase(session, { ...phase, work: { kind: 'running', worker } }),
    warmLater: [...warmLater.slice(1 - BACKOFF.remembered), { attempt, worker: id }],
  };
  return andThen(stay(taken), (next) => stay(next, [...greeting(next), { do: 'assign', workerId: id }]));
}

function assigned(worker: Worker, process: WorkerProcess): Worker {
  return { ...worker, stage: 'running', process, channel: 'open', warm: 'sound' };
}

/** A warm worker runs already and only needs its room. */
function firstWorker(
  session: Queued,
  { workerId: id, warm }: NonNullable<PhaseOf<'queued'>['grant']>,
  now: Stamp,
): { worker: Worker; effects: Next['effects'] } {
  const worker = newWorker(session, { id, attempt: 1, now });
  if (warm == null) return { worker, effects: [{ do: 'spawn', workerId: id, attempt: 1 }] };
  return {
    worker: assigned(worker, warm),
    effects: [{ do: 'assign', workerId: id }],
  };
}
