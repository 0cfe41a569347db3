/** From the queue to the first worker that is ready. */

import type { Stamp, WorkerId } from '../ids.ts';
import { firstWorkerId, workerIdOf } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Ending, Phase, Session, Worker } from '../model/session.ts';
import { isOfAnotherWorker } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import {
  andThen,
  endingOf,
  newWorker,
  noteReplaced,
  stay,
  withPhase,
  withVitals,
  withWorker,
} from '../model/updates.ts';
import { decidedAbsence } from './absence.ts';
import { close } from './closing.ts';
import { startDueMs } from './deadlines.ts';
import { exitEnding } from './endings.ts';
import { greet, sendConfigure } from './handshake.ts';
import { deadlineTick } from './live.ts';
import { jobEnded, jobWithdrawn, reportJob } from './livekit-job.ts';

type Queued = Extract<Phase, { name: 'queued' }>;
type Starting = Extract<Phase, { name: 'starting' }>;

export function onQueued(session: Session, event: SessionEvent, now: Stamp): Next {
  const { phase } = session;
  if (phase.name !== 'queued') return stay(session);
  switch (event.type) {
    case 'granted':
      return startIfDue(
        withPhase(session, {
          ...phase,
          grant: {
            startAtMs: event.startAtMs,
            assignedByMs: event.assignedByMs ?? null,
            workerId: event.workerId,
            warm: event.warm ?? null,
          },
        }),
        now,
      );
    case 'assigned':
      if (phase.grant === null) return stay(session);
      return startIfDue(withPhase(session, { ...phase, grant: { ...phase.grant, assignedByMs: null } }), now);
    case 'job_terminated':
      return close(session, jobEnded(now), now);
    case 'job_withdrawn':
      return refuse(session, jobWithdrawn(event.why, now), { ownJob: null, now });
    case 'record_failed':
      return stay(notAccepted(session, event.detail, now));
    case 'exited':
      return stay(loseReserved(session, phase, event.workerId));
    case 'tick':
      return startIfDue(session, now);
    case 'expired':
      return refuse(
        session,
        endingOf('start_timeout', now, { cause: 'queue_timeout', detail: event.detail }),
        { ownJob: session.spec.job?.id ?? null, now },
      );
    case 'release':
      return close(
        session,
        endingOf(event.reason, now, { cause: 'release', detail: event.detail, by: event.by }),
        now,
      );
    default:
      return stay(session);
  }
}

/** Nobody has dispatched a call that came by itself, so nobody else would see to its phone. `ownJob`: LiveKit may still take the job for ours. */
function refuse(
  session: Session,
  ending: Ending,
  { ownJob, now }: { ownJob: string | null; now: Stamp },
): Next {
  const { room, unasked } = session.spec;
  return andThen(close(session, ending, now), (next) =>
    stay(next, unasked === true ? [{ do: 'refuse_call', room, ownJob }] : []),
  );
}

/** Without its first record nothing was accepted and nothing was started, so nothing is torn down. */
function notAccepted(session: Session, detail: string, now: Stamp): Session {
  return withPhase(session, {
    name: 'ended',
    startedAt: null,
    liveAt: null,
    endedAt: now,
    ending: endingOf('crashed', now, { cause: 'record_failed', detail }),
    worker: null,
    records: [],
    roomEnd: null,
  });
}

/** The warm worker that was kept for it died: one is started as for any other. */
function loseReserved(session: Session, phase: Queued, dead: WorkerId): Session {
  const { grant } = phase;
  if (grant === null || grant.warm == null || grant.workerId !== dead) return session;
  const cold = { ...grant, warm: null, workerId: firstWorkerId(session.spec.id) };
  return withPhase(session, { ...phase, grant: cold });
}

function startIfDue(session: Session, now: Stamp): Next {
  const { phase, spec } = session;
  const grant = phase.name === 'queued' ? (phase as Queued).grant : null;
  if (grant === null || now.bootMs < startDueMs(grant)) return stay(session);
  const { worker, effects } = firstWorker(session, grant, now);
  const begun = worker.warm === true ? { ...session, warmWorker: worker.id } : session;
  const started = withPhase(begun, { name: 'starting', startedAt: now, worker });
  if (!spec.livekit) return stay(started, effects);
  // The first look tells whether the room was there before the session.
  return stay(withVitals(started, { pollAskedMs: now.bootMs }), [...effects, { do: 'poll_room' }]);
}

/** A warm one is there already and only needs its room. */
function firstWorker(
  session: Session,
  { workerId: id, warm }: NonNullable<Queued['grant']>,
  now: Stamp,
): { worker: Worker; effects: Next['effects'] } {
  const worker = newWorker(session, { id, attempt: 1, now });
  if (warm == null) return { worker, effects: [{ do: 'spawn', workerId: id, attempt: 1 }] };
  return {
    worker: { ...worker, process: warm, channel: 'open', warm: true },
    effects: [{ do: 'assign', workerId: id }],
  };
}

export function onStarting(session: Session, event: SessionEvent, now: Stamp): Next {
  const { phase } = session;
  if (phase.name !== 'starting' || isOfAnotherWorker(session, event)) return stay(session);
  switch (event.type) {
    case 'spawned':
      return session.spec.profile.protocol === 'none' ? goLive(session, phase, now) : stay(session);
    case 'record_failed':
      return phase.worker.process !== null && phase.worker.warm !== true
        ? stay(session)
        : stay(notAccepted(session, event.detail, now));
    case 'spawn_failed':
      return spawnFailed(session, event.detail, now);
    case 'not_started':
      return startAgain(session, phase, now);
    case 'job_terminated':
      return close(session, jobEnded(now), now);
    case 'channel':
      return event.open ? greet(session, now) : stay(session);
    case 'metadata':
      return sendConfigure(session, now);
    case 'message':
      return onMessage(session, phase, { event, now });
    case 'tree':
      return replaceWarm(session, phase, { left: event.left, now });
    case 'exited':
      // One that was kept warm says nothing of the call: another one takes it when its tree is gone.
      return phase.worker.exit === null || phase.worker.warm === true
        ? stay(session)
        : close(session, exitEnding(phase.worker.exit, Number.POSITIVE_INFINITY), now);
    case 'release':
      return close(
        session,
        endingOf(event.reason, now, { cause: 'release', detail: event.detail, by: event.by }),
        now,
      );
    case 'room_snapshot': {
      const absence = decidedAbsence(session, event.observation.asOf.bootMs);
      return absence === null ? stay(session) : close(session, endingOf(absence.reason, now, absence), now);
    }
    case 'gap':
      return endFailed(session, phase);
    case 'tick':
      return onTick(session, phase, now);
    default:
      return stay(session);
  }
}

function onMessage(
  session: Session,
  phase: Starting,
  { event, now }: { event: Extract<SessionEvent, { type: 'message' }>; now: Stamp },
): Next {
  const { message } = event;
  if (phase.worker.failed === true) return stay(session);
  if (message.type === 'failed') return onFailed(session, phase, { detail: message.message, now });
  if (message.type === 'ready') return goLive(session, phase, now);
  if (message.type === 'closed')
    return close(
      session,
      endingOf('completed', now, { cause: 'closed', detail: message.detail ?? null }),
      now,
    );
  if (message.type === 'error' && session.errors.consecutive >= session.spec.limits.errorLimit) {
    return close(session, endingOf('error_limit', now, { cause: 'error', detail: session.errors.last }), now);
  }
  return stay(session);
}

/** One that was kept warm says nothing of the call, as when it dies: another one takes it when its tree is gone. */
function onFailed(
  session: Session,
  { worker }: Starting,
  { detail, now }: { detail: string; now: Stamp },
): Next {
  if (worker.warm !== true) return close(session, failedEnding(detail, now), now);
  const failed = withWorker(session, worker.id, (one) => ({ ...one, failed: true }));
  return stay(failed, [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }]);
}

/** A supervisor that was away, or stood still, may not have ended it. */
function endFailed(session: Session, { worker }: Starting): Next {
  if (worker.failed !== true) return stay(session);
  return stay(session, [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }]);
}

function goLive(session: Session, phase: Starting, now: Stamp): Next {
  const ready = withWorker(session, phase.worker.id, (worker) => ({ ...worker, readyByMs: null }));
  if (ready.phase.name !== 'starting') return stay(session);
  const { startedAt, worker } = ready.phase;
  const { idleAtMs: allowedMs } = session.vitals;
  const idleAtMs = session.spec.idleAsked
    ? Math.max(allowedMs ?? 0, now.bootMs + session.spec.limits.activityIdleTimeoutMs)
    : allowedMs;
  const live = withPhase(ready, {
    name: 'live',
    startedAt,
    liveAt: now,
    work: { kind: 'running', worker },
    inference: null,
  });
  return andThen(stay(withVitals(live, { idleAtMs }), reportJob(session, 'running')), (next) =>
    deadlineTick(next, now),
  );
}

function replaceWarm(session: Session, phase: Starting, { left, now }: { left: number; now: Stamp }): Next {
  const { worker } = phase;
  if (worker.warm !== true || worker.exit === null) return stay(session);
  if (left > 0) return stay(session, [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }]);
  const why =
    worker.failed === true ? failedEnding(null, now) : exitEnding(worker.exit, Number.POSITIVE_INFINITY);
  return startNext(noteReplaced(session, worker.id, why), phase, now);
}

function failedEnding(detail: string | null, now: Stamp): Ending {
  return endingOf('crashed', now, { cause: 'failed', detail });
}

/** Under another id: a shim of the old one that comes late finds its claim taken. Nothing ran, so nothing was restarted. */
function startAgain(session: Session, phase: Starting, now: Stamp): Next {
  return phase.worker.process === null ? startNext(session, phase, now) : stay(session);
}

function startNext(session: Session, phase: Starting, now: Stamp): Next {
  const attempt = phase.worker.attempt + 1;
  const worker = newWorker(session, { id: workerIdOf(session.spec.id, attempt), attempt, now });
  return stay(withPhase(session, { ...phase, worker }), [{ do: 'spawn', workerId: worker.id, attempt }]);
}

function spawnFailed(session: Session, detail: string, now: Stamp): Next {
  return close(session, endingOf('crashed', now, { cause: 'spawn_failed', detail }), now);
}

function onTick(session: Session, phase: Starting, now: Stamp): Next {
  const { bootMs } = now;
  if (phase.worker.readyByMs !== null && bootMs >= phase.worker.readyByMs) {
    const detail = `not ready after ${session.spec.limits.startTimeoutMs} ms`;
    return close(session, endingOf('start_timeout', now, { cause: 'deadline:start_timeout', detail }), now);
  }
  return deadlineTick(session, now);
}
