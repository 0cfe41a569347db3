/** A live session: what ends it, what replaces its worker, and what passes by. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import { WORKERS } from '../../lib/limits/worker-limits.ts';
import type { Stamp } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Reason } from '../model/reasons.ts';
import type { Ending, Phase, Session, Worker } from '../model/session.ts';
import { isOfAnotherWorker, workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, stay, tell, withPhase, withVitals, withWorker } from '../model/updates.ts';
import { absences, decidedAbsence } from './absence.ts';
import { close } from './closing.ts';
import type { Deadline } from './deadlines.ts';
import { deadlines } from './deadlines.ts';
import { errorLimit, exitEnding, unresponsive } from './endings.ts';
import { greet, sendConfigure } from './handshake.ts';
import { jobEnded } from './livekit-job.ts';
import { requestPoll } from './look.ts';
import {
  crash,
  repeatReplaceStep,
  replaceLateSpawn,
  replaceOnSnapshot,
  replaceTick,
  replaceTree,
} from './replacing.ts';

/** Inferred endings that rest on the worker, not on the room. */
const SILENT_REASONS = ['idle_timeout', 'unresponsive', 'error_limit'] as const;

type Live = Extract<Phase, { name: 'live' }>;

export function onLive(session: Session, event: SessionEvent, now: Stamp): Next {
  const settled = dropStaleInference(session, now);
  const { phase } = settled;
  if (phase.name !== 'live' || isOfAnotherWorker(settled, event)) return stay(settled);
  switch (event.type) {
    case 'spawned':
      return onSpawned(settled, phase, { id: event.workerId, now });
    case 'spawn_failed':
      return phase.work.kind === 'running'
        ? crash(settled, endingOf('crashed', now, { cause: 'spawn_failed', detail: event.detail }), now)
        : replaceTree(settled, 0, now);
    case 'channel':
      return event.open ? greet(settled, now) : stay(settled);
    case 'message':
      // What an old worker says on its way out ends nothing.
      return phase.work.kind === 'running' ? onMessage(settled, event, now) : stay(settled);
    case 'exited':
      return onExited(settled, phase, now);
    case 'tree':
      return replaceTree(settled, event.left, now);
    case 'room_snapshot':
      return onObserved(settled, event.observation.asOf.bootMs, now);
    case 'release':
      return close(
        settled,
        endingOf(event.reason, now, { cause: 'release', detail: event.detail, by: event.by }),
        now,
      );
    case 'metadata':
      return sendConfigure(settled, now);
    case 'budget':
      return onBudget(settled, event.granted, now);
    case 'resources':
      return onResources(settled, event, now);
    case 'gap':
      return repeatReplaceStep(settled, now);
    case 'job_terminated':
      return close(settled, jobEnded(now), now);
    case 'tick':
      return deadlineTick(settled, now);
    case 'host_lost':
    case 'not_started':
    case 'queued':
    case 'record_failed':
    case 'granted':
    case 'assigned':
    case 'job_withdrawn':
    case 'side_room_snapshot':
    case 'expired':
    case 'room_event':
    case 'livekit':
    case 'claim_wanted':
    case 'keep_alive':
    case 'room_step':
      return stay(settled);
  }
}

/** Level 0 is ready when its process runs. */
function onSpawned(session: Session, { work }: Live, { id, now }: { id: Worker['id']; now: Stamp }): Next {
  if (work.kind === 'replacing') return replaceLateSpawn(session, now);
  return stay(session.spec.profile.protocol === 'none' ? readyNow(session, id) : session);
}

function readyNow(session: Session, id: Worker['id']): Session {
  return withWorker(session, id, (worker) => ({ ...worker, readyByMs: null }));
}

function onMessage(
  session: Session,
  { message, workerId }: Extract<SessionEvent, { type: 'message' }>,
  now: Stamp,
): Next {
  switch (message.type) {
    case 'ready':
      return stay(readyNow(session, workerId));
    case 'closed':
      return close(
        session,
        endingOf('completed', now, { cause: 'closed', detail: message.detail ?? null }),
        now,
      );
    case 'failed':
      return crash(session, endingOf('crashed', now, { cause: 'failed', detail: message.message }), now);
    case 'error':
      return session.errors.consecutive >= session.spec.limits.errorLimit
        ? infer(session, errorLimit(session, now))
        : stay(session);
    case 'dumped':
      return session.vitals.dumpAskedMs === null ? stay(session) : infer(session, unresponsive(session, now));
    case 'heartbeat':
    case 'activity':
    case 'ok':
    case 'configured':
      return stay(session);
  }
}

function onExited(session: Session, phase: Live, now: Stamp): Next {
  if (phase.work.kind !== 'running' || phase.work.worker.exit === null) return stay(session);
  const overAtMs = phase.startedAt.bootMs + session.spec.limits.maxDurationMs;
  const ending = exitEnding(phase.work.worker.exit, overAtMs);
  return ending.reason === 'completed' || ending.reason === 'max_duration'
    ? close(session, ending, now)
    : crash(session, ending, now);
}

function onObserved(session: Session, asOfMs: number, now: Stamp): Next {
  const absence = decidedAbsence(session, asOfMs);
  if (absence === null) return replaceOnSnapshot(session, now);
  const ending = endingOf(absence.reason, now, { cause: absence.cause, detail: absence.detail });
  return absence.inferred ? infer(session, ending) : end(session, ending, now);
}

function onResources(
  session: Session,
  { rssBytes }: Extract<SessionEvent, { type: 'resources' }>,
  now: Stamp,
): Next {
  const { overMemorySinceMs } = session.vitals;
  if (overMemorySinceMs === null) return stay(session);
  // A peak is warned of, not ended: only the next sample decides.
  if (overMemorySinceMs === now.bootMs)
    return stay(
      session,
      tell(workerOf(session), { type: 'notice', reason: 'memory_limit', inMs: WORKERS.sampleMs }),
    );
  const { memoryBytes } = session.spec.profile;
  const detail = `${rssBytes} bytes resident, the limit is ${memoryBytes}`;
  return end(session, endingOf('memory_limit', now, { cause: 'sample:memory', detail }), now);
}

/** Asks the host-wide budget before an ending that rests on absence, silence or errors. */
function infer(session: Session, ending: Ending): Next {
  const { phase } = session;
  if (phase.name !== 'live' || phase.inference !== null) return stay(session);
  const asked = withPhase(session, { ...phase, inference: { ending, heldUntilMs: null } });
  return stay(asked, [{ do: 'ask_budget', reason: ending.reason, again: session.vitals.heldBefore }]);
}

function onBudget(session: Session, granted: boolean, now: Stamp): Next {
  const { phase } = session;
  if (phase.name !== 'live' || phase.inference === null || phase.inference.heldUntilMs !== null)
    return stay(session);
  const { inference } = phase;
  if (granted) return end(withPhase(session, { ...phase, inference: null }), inference.ending, now);
  const heldUntilMs = now.bootMs + DEADLINES.heldMs;
  return stay(
    withVitals(withPhase(session, { ...phase, inference: { ...inference, heldUntilMs } }), {
      heldBefore: true,
    }),
  );
}

/** A broken worker may be replaced; all other endings are the session's. */
function end(session: Session, ending: Ending, now: Stamp): Next {
  const broken =
    ending.reason === 'agent_absent' || ending.reason === 'unresponsive' || ending.reason === 'memory_limit';
  return broken ? crash(session, ending, now) : close(session, ending, now);
}

/** An ending that was asked for or is held is dropped as soon as its ground is gone, and with it that it was held. */
function dropStaleInference(session: Session, now: Stamp): Session {
  const { phase, vitals } = session;
  if (phase.name !== 'live') return session;
  const { inference } = phase;
  if (inference === null && !vitals.heldBefore) return session;
  if (inference === null ? anyHolds(session, now) : holds(session, inference.ending.reason, now))
    return session;
  return withVitals(withPhase(session, { ...phase, inference: null }), { heldBefore: false });
}

function anyHolds(session: Session, now: Stamp): boolean {
  const due = absences(session).some((one) => one.inferred && one.dueMs <= now.bootMs);
  return due || SILENT_REASONS.some((reason) => holds(session, reason, now));
}

function holds(session: Session, reason: Reason, now: Stamp): boolean {
  const { vitals, errors, spec } = session;
  switch (reason) {
    case 'idle_timeout':
      return vitals.idleAtMs !== null && now.bootMs >= vitals.idleAtMs;
    case 'unresponsive':
      return vitals.dumpAskedMs !== null;
    case 'error_limit':
      return errors.consecutive >= spec.limits.errorLimit;
    default:
      return absences(session).some((one) => one.reason === reason);
  }
}

/** Acts on every deadline that has passed, in its order, until one of them ends the session. */
export function deadlineTick(session: Session, now: Stamp): Next {
  const due = deadlines(session).filter((one) => one.atMs <= now.bootMs);
  return due.reduce(
    (next, one) => andThen(next, (state) => (isOpen(state) ? act(state, one, now) : stay(state))),
    stay(session),
  );
}

function isOpen({ phase }: Session): boolean {
  return phase.name === 'live' || phase.name === 'starting';
}

function act(session: Session, due: Deadline, now: Stamp): Next {
  if (due.needsPoll) return requestPoll(session, due.atMs, now);
  switch (due.kind) {
    case 'max_duration':
      return close(
        session,
        endingOf('max_duration', now, {
          cause: 'deadline:max_duration',
          detail: `longer than ${session.spec.limits.maxDurationMs} ms`,
        }),
        now,
      );
    case 'max_duration_notice':
      return warn(session, now);
    case 'start_timeout':
      return crash(
        session,
        endingOf('start_timeout', now, {
          cause: 'deadline:start_timeout',
          detail: `not ready after ${session.spec.limits.startTimeoutMs} ms`,
        }),
        now,
      );
    case 'idle_timeout':
      return infer(
        session,
        endingOf('idle_timeout', now, {
          cause: 'deadline:idle_timeout',
          detail: `no activity for ${session.spec.limits.activityIdleTimeoutMs} ms`,
        }),
      );
    case 'unresponsive':
      return stale(session, now);
    case 'error_limit':
      return infer(session, errorLimit(session, now));
    case 'errors_reset':
      return stay({ ...session, errors: { ...session.errors, consecutive: 0 } });
    case 'held':
      return reconsider(session, now);
    case 'configure':
      return sendConfigure(session, now);
    default:
      return replaceTick(session, due.kind, now);
  }
}

function warn(session: Session, now: Stamp): Next {
  const { phase, spec } = session;
  if (phase.name !== 'live') return stay(session);
  const inMs = Math.max(0, phase.startedAt.bootMs + spec.limits.maxDurationMs - now.bootMs);
  return stay(
    withVitals(session, { warnedMaxDuration: true }),
    tell(workerOf(session), { type: 'notice', reason: 'max_duration', inMs }),
  );
}

function stale(session: Session, now: Stamp): Next {
  if (session.vitals.dumpAskedMs !== null) return infer(session, unresponsive(session, now));
  return stay(withVitals(session, { dumpAskedMs: now.bootMs }), tell(workerOf(session), { type: 'dump' }));
}

/** Held long enough: forget the old facts' word and look afresh; what still holds asks again. */
function reconsider(session: Session, now: Stamp): Next {
  const { phase } = session;
  if (phase.name !== 'live') return stay(session);
  const open = withPhase(session, { ...phase, inference: null });
  return requestPoll(withVitals(open, { pollAskedMs: null }), now.bootMs, now);
}
