/** Every deadline of a session, by phase: when it is due, and what it does. Other files only set the facts from which the times follow. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { errorLimit, startTimeoutEnding, unresponsive } from '../model/endings.ts';
import { requestPoll } from '../model/request-poll.ts';
import type { Ending, PhaseName, ProcessStep, RoomStep, Session, SessionIn, Work } from '../model/session.ts';
import { maxDurationAtMs, staleAtMs, workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { endingOf, stay, tell, withPhase, withVitals } from '../model/updates.ts';
import { channelOf } from '../model/worker.ts';
import { escalateStep } from '../teardown/process-track.ts';
import { escalateRoom } from '../teardown/room-track.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import type { ReplaceStep } from '../teardown/steps.ts';
import type { AbsenceReason } from './absence.ts';
import { ABSENCES } from './absence.ts';
import { sendConfigure } from './handshake.ts';
import { end, infer } from './inference.ts';
import {
  agentSessionFailsMs,
  agentSessionFailure,
  crash,
  escalate,
  failAgentSession,
  nextStartMs,
  startIfDue,
} from './replacing.ts';
import { start, startAgain } from './start.ts';

type Running = SessionIn<'starting' | 'live'>;
type Live = SessionIn<'live'>;
type BoundedStep = Exclude<ProcessStep, 'over'> | Exclude<RoomStep, 'waiting' | 'over'>;

/** Kinds that end the session carry the reason's name. The others are steps on the way. */
interface KindsIn {
  readonly queued: 'start';
  readonly starting: 'max_duration' | 'start_timeout' | 'start_again' | AbsenceReason | 'configure';
  readonly live:
    | 'max_duration'
    | 'start_timeout'
    | 'replace'
    | `replace:${ReplaceStep}`
    | 'held'
    | AbsenceReason
    | 'errors_reset'
    | 'max_duration_notice'
    | 'error_limit'
    | 'agent_session_failed'
    | 'idle_timeout'
    | 'unresponsive'
    | 'configure';
  readonly closing: `ladder:${BoundedStep}`;
  readonly ended: never;
}

export type DeadlineKind = KindsIn[PhaseName];

export interface DeadlineRule<P extends PhaseName> {
  /** When it is due, on the boot-time clock; null: not armed. */
  readonly armed: (session: SessionIn<P>) => number | null;
  /** `poll`: its time only asks for a poll, and a snapshot that was asked for afterwards decides. */
  readonly decidedBy: 'clock' | 'poll';
  readonly on: (session: SessionIn<P>, now: Stamp) => Next;
  /** Whether the API shows it. */
  readonly shown: boolean;
  /** Where several deadlines have passed, it acts before the others, whatever their times. */
  readonly isFirst: boolean;
}

/** `isFirst` rules act before all others. Where two deadlines are due at the same time, the upper one acts first. */
export const DEADLINE_TABLE: {
  readonly [P in PhaseName]: { readonly [K in KindsIn[P]]: DeadlineRule<P> };
} = {
  queued: {
    start: clock<'queued'>({ armed: startDueMs, on: start }),
  },
  starting: {
    max_duration: clock<'starting'>({ armed: maxDurationAtMs, on: endMaxDuration }),
    start_timeout: clock<'starting'>({
      armed: ({ phase }) => phase.worker.readyByMs,
      on: (session, now) => startTeardown(session, missedStart(session, now), now),
      isFirst: true,
    }),
    start_again: clock<'starting'>({
      armed: ({ phase }) => phase.unrecorded?.againAtMs ?? null,
      on: startAgain,
      shown: false,
    }),
    ...absenceRules<'starting'>((session, absence, now) =>
      startTeardown(session, endingOf(absence.reason, now, absence), now),
    ),
    configure: clock<'starting'>({ armed: configureAgainMs, on: sendConfigure, shown: false }),
  },
  live: {
    max_duration: clock<'live'>({ armed: maxDurationAtMs, on: endMaxDuration }),
    start_timeout: clock<'live'>({
      armed: (session) => ifRunning(session, ({ worker }) => worker.readyByMs),
      on: (session, now) => crash(session, startTimeoutEnding(session, now), now),
    }),
    replace: clock<'live'>({
      armed: ({ phase }) => (phase.work.kind === 'replacing' ? nextStartMs(phase.work) : null),
      on: (session, now) => ifReplacing(session, (work) => startIfDue(session, work, now)),
    }),
    'replace:spawning': replaceStep('spawning'),
    'replace:reap': replaceStep('reap'),
    'replace:term': replaceStep('term'),
    'replace:term_rest': replaceStep('term_rest'),
    'replace:kill': replaceStep('kill'),
    'replace:confirm': replaceStep('confirm'),
    held: clock<'live'>({ armed: ({ phase }) => phase.inference?.heldUntilMs ?? null, on: reconsider }),
    ...absenceRules<'live'>((session, absence, now) => {
      const ending = endingOf(absence.reason, now, { cause: absence.cause, detail: absence.detail });
      return absence.inferred ? infer(session, ending) : end(session, ending, now);
    }),
    errors_reset: clock<'live'>({
      armed: ({ errors }) =>
        errors.consecutive > 0 && errors.lastAt !== null
          ? errors.lastAt.bootMs + DEADLINES.errorResetMs
          : null,
      on: (session) => stay({ ...session, errors: { ...session.errors, consecutive: 0 } }),
      shown: false,
    }),
    max_duration_notice: clock<'live'>({
      armed: (session) =>
        session.vitals.warnedMaxDuration ? null : maxDurationAtMs(session) - DEADLINES.maxDurationNoticeMs,
      on: noticeMaxDuration,
      shown: false,
    }),
    // The limit can be reached while another ending is held: it is not asked for then.
    error_limit: clock<'live'>({
      armed: (session) =>
        session.errors.consecutive >= session.spec.limits.errorLimit
          ? ifFree(session, () => session.errors.lastAt?.bootMs ?? null)
          : null,
      on: (session, now) => infer(session, errorLimit(session, now)),
      shown: false,
    }),
    agent_session_failed: clock<'live'>({
      armed: (session) => ifRunning(session, () => agentSessionFailsMs(session)),
      on: (session, now) => {
        const failure = agentSessionFailure(session);
        return failure === null ? stay(session) : failAgentSession(session, failure, now);
      },
    }),
    idle_timeout: clock<'live'>({
      armed: (session) => ifFree(session, () => session.vitals.idleAtMs),
      on: endIdle,
    }),
    unresponsive: clock<'live'>({
      armed: (session) => ifFree(session, unresponsiveMs),
      on: dumpOrEnd,
    }),
    configure: clock<'live'>({ armed: configureAgainMs, on: sendConfigure, shown: false }),
  },
  closing: {
    'ladder:spawning': processStep('spawning'),
    'ladder:reconnecting': processStep('reconnecting'),
    'ladder:aclose': processStep('aclose'),
    'ladder:disconnect': processStep('disconnect'),
    'ladder:reap': processStep('reap'),
    'ladder:term': processStep('term'),
    'ladder:term_rest': processStep('term_rest'),
    'ladder:kill': processStep('kill'),
    'ladder:confirm': processStep('confirm'),
    'ladder:remove_agent': roomStep('remove_agent'),
    'ladder:close_room': roomStep('close_room'),
  },
  ended: {},
};

function clock<P extends PhaseName>(
  rule: Pick<DeadlineRule<P>, 'armed' | 'on'> & Partial<Pick<DeadlineRule<P>, 'shown' | 'isFirst'>>,
): DeadlineRule<P> {
  return { decidedBy: 'clock', shown: true, isFirst: false, ...rule };
}

type Absent = NonNullable<ReturnType<(typeof ABSENCES)[AbsenceReason]>>;

function absenceRules<P extends 'starting' | 'live'>(
  decide: (session: SessionIn<P>, absence: Absent, now: Stamp) => Next,
): { readonly [K in AbsenceReason]: DeadlineRule<P> } {
  const rule = (reason: AbsenceReason): DeadlineRule<P> => ({
    armed: (session) => ABSENCES[reason](session)?.dueMs ?? null,
    decidedBy: 'poll',
    on: (session, now) => {
      const absence = ABSENCES[reason](session);
      return absence === null ? stay(session) : decide(session, absence, now);
    },
    shown: true,
    isFirst: false,
  });
  return {
    room_finished: rule('room_finished'),
    completed: rule('completed'),
    callers_left: rule('callers_left'),
    not_answered: rule('not_answered'),
    no_caller_joined: rule('no_caller_joined'),
    no_active_stream: rule('no_active_stream'),
    agent_absent: rule('agent_absent'),
  };
}

/** The start rate paces a start. A job waits for LiveKit's assignment, and starts without it at `assignedByMs`. */
function startDueMs({ phase }: SessionIn<'queued'>): number | null {
  if (phase.grant === null) return null;
  const { startAtMs, assignedByMs } = phase.grant;
  return Math.max(startAtMs, assignedByMs ?? startAtMs);
}

function endMaxDuration(session: Running, now: Stamp): Next {
  const detail = `longer than ${session.spec.limits.maxDurationMs} ms`;
  return startTeardown(
    session,
    endingOf('max_duration', now, { cause: 'deadline:max_duration', detail }),
    now,
  );
}

function missedStart(session: SessionIn<'starting'>, now: Stamp): Ending {
  const { unrecorded } = session.phase;
  if (unrecorded === undefined) return startTimeoutEnding(session, now);
  return endingOf('crashed', now, { cause: 'spawn_failed', detail: unrecorded.detail });
}

function noticeMaxDuration(session: Live, now: Stamp): Next {
  const inMs = Math.max(0, maxDurationAtMs(session) - now.bootMs);
  return stay(
    withVitals(session, { warnedMaxDuration: true }),
    tell(workerOf(session), { type: 'notice', reason: 'max_duration', inMs }),
  );
}

/** A worker that is not connected gets it when it connects again. */
function configureAgainMs(session: Session): number | null {
  const { sentMs, ackedRev, rev } = session.config;
  if (sentMs === null || ackedRev >= rev || channelOf(workerOf(session)) !== 'open') return null;
  return sentMs + DEADLINES.configureAgainMs;
}

function ifRunning(
  { phase }: Live,
  armed: (work: Extract<Work, { kind: 'running' }>) => number | null,
): number | null {
  return phase.work.kind === 'running' ? armed(phase.work) : null;
}

function ifReplacing(session: Live, on: (work: Extract<Work, { kind: 'replacing' }>) => Next): Next {
  const { work } = session.phase;
  return work.kind === 'replacing' ? on(work) : stay(session);
}

/** Armed while the worker runs and no other ending waits for the budget. */
function ifFree(session: Live, armed: (session: Live) => number | null): number | null {
  return session.phase.inference === null ? ifRunning(session, () => armed(session)) : null;
}

/** A silent worker is asked for its stacks first, and has its time to write them. */
function unresponsiveMs(session: Live): number | null {
  const { dumpAskedMs } = session.vitals;
  const staleMs = staleAtMs(session);
  if (staleMs === null || dumpAskedMs === null) return staleMs;
  return dumpAskedMs + DEADLINES.dumpMs;
}

function dumpOrEnd(session: Live, now: Stamp): Next {
  if (session.vitals.dumpAskedMs !== null) return infer(session, unresponsive(session, now));
  return stay(withVitals(session, { dumpAskedMs: now.bootMs }), tell(workerOf(session), { type: 'dump' }));
}

function endIdle(session: Live, now: Stamp): Next {
  const detail = `no activity for ${session.spec.limits.activityIdleTimeoutMs} ms`;
  return infer(session, endingOf('idle_timeout', now, { cause: 'deadline:idle_timeout', detail }));
}

/** The held ending is forgotten and a new poll is asked for. An ending that still holds asks the budget again. */
function reconsider(session: Live, now: Stamp): Next {
  const open = withPhase(session, { ...session.phase, inference: null });
  return requestPoll(withVitals(open, { pollAskedMs: null }), now.bootMs, now);
}

function replaceStep(step: ReplaceStep): DeadlineRule<'live'> {
  return clock<'live'>({
    armed: ({ phase }) =>
      phase.work.kind === 'replacing' && phase.work.old?.step === step ? phase.work.old.deadlineMs : null,
    on: (session, now) => ifReplacing(session, (work) => escalate(session, work, now)),
    shown: false,
  });
}

/** The process track acts before the room's. */
function processStep(step: ProcessStep): DeadlineRule<'closing'> {
  return clock<'closing'>({
    armed: ({ phase: { ladder } }) => (ladder.process.step === step ? ladder.process.deadlineMs : null),
    on: escalateStep,
    isFirst: true,
  });
}

function roomStep(step: RoomStep): DeadlineRule<'closing'> {
  return clock<'closing'>({
    armed: ({ phase: { ladder } }) => (ladder.room.step === step ? ladder.room.deadlineMs : null),
    on: escalateRoom,
  });
}
