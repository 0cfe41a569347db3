/** Everything that time alone will bring about, computed from the state: nothing else arms or disarms a deadline. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Session } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { stay, withVitals } from '../model/updates.ts';
import { absences } from './absence.ts';

type Grant = NonNullable<Extract<Session['phase'], { name: 'queued' }>['grant']>;

/** Kinds that end the session carry the reason's name; the others are steps on the way. */
export interface Deadline {
  readonly kind: string;
  readonly atMs: number;
  /** Whether a person wants to read of it. */
  readonly shown: boolean;
  /** Decided by a look made after it, not by the clock. */
  readonly needsPoll: boolean;
}

export function deadlines(session: Session): Deadline[] {
  return [
    ...phaseDeadlines(session),
    ...absenceDeadlines(session),
    ...vitalDeadlines(session),
    ...configDeadline(session),
  ].sort((a, b) => a.atMs - b.atMs);
}

/** When the session wants its next `tick`; null: nothing is pending. */
export function nextTickMs(session: Session, nowMs: number): number | null {
  const times = deadlines(session).map((one) =>
    one.needsPoll ? pollAtMs(session, one.atMs, nowMs) : one.atMs,
  );
  return times.length === 0 ? null : Math.min(...times);
}

function pollAtMs(session: Session, dueMs: number, nowMs: number): number {
  // While LiveKit is away there is nobody to ask; its return is an event.
  if (!session.presence.reachable) return Number.POSITIVE_INFINITY;
  const { pollAskedMs } = session.vitals;
  if (dueMs > nowMs || pollAskedMs === null || pollAskedMs < dueMs) return dueMs;
  return pollAskedMs + DEADLINES.pollAgainMs;
}

/** Asks for a poll, unless one that will decide is on its way. A poll that was asked for before `dueMs` decides nothing. */
export function requestPoll(session: Session, dueMs: number, now: Stamp): Next {
  const { pollAskedMs } = session.vitals;
  const soon =
    pollAskedMs !== null && pollAskedMs >= dueMs && now.bootMs < pollAskedMs + DEADLINES.pollAgainMs;
  if (soon || !session.spec.livekit || !session.presence.reachable) return stay(session);
  return stay(withVitals(session, { pollAskedMs: now.bootMs }), [{ do: 'poll_room' }]);
}

function deadline(kind: string, atMs: number, shown = true, needsLook = false): Deadline {
  return { kind, atMs, shown, needsPoll: needsLook };
}

function phaseDeadlines({ phase, spec }: Session): Deadline[] {
  switch (phase.name) {
    case 'queued':
      return phase.grant === null ? [] : [deadline('start', startDueMs(phase.grant))];
    case 'starting':
      return [
        deadline('max_duration', phase.startedAt.bootMs + spec.limits.maxDurationMs),
        ...ready(phase.worker.readyByMs),
      ];
    case 'live':
      return [
        deadline('max_duration', phase.startedAt.bootMs + spec.limits.maxDurationMs),
        ...workDeadlines(phase),
      ];
    case 'closing': {
      const { process, room } = phase.ladder;
      const steps = [
        process.step === 'over' ? [] : [deadline(`ladder:${process.step}`, process.deadlineMs)],
        room.step === 'over' || room.step === 'waiting'
          ? []
          : [deadline(`ladder:${room.step}`, room.deadlineMs)],
      ];
      return steps.flat();
    }
    case 'ended':
      return [];
  }
}

/** The start rate paces, and a job that LiveKit has not assigned yet is waited for. */
export function startDueMs({ startAtMs, assignedByMs }: Grant): number {
  return Math.max(startAtMs, assignedByMs ?? startAtMs);
}

function ready(readyByMs: number | null): Deadline[] {
  return readyByMs === null ? [] : [deadline('start_timeout', readyByMs)];
}

function workDeadlines(phase: Extract<Session['phase'], { name: 'live' }>): Deadline[] {
  const held = phase.inference?.heldUntilMs ?? null;
  const holding = held === null ? [] : [deadline('held', held)];
  if (phase.work.kind === 'running') return [...ready(phase.work.worker.readyByMs), ...holding];
  const { old, notBeforeMs, unsure = null } = phase.work;
  const dueMs = Math.max(notBeforeMs, unsure === null ? notBeforeMs : crashPollEndMs(unsure));
  return [
    old === null ? deadline('replace', dueMs) : deadline(`replace:${old.step}`, old.deadlineMs, false),
    ...holding,
  ];
}

/** A look that a crash asked for and that has not come by then says nobody. */
export function crashPollEndMs({ sinceMs }: { readonly sinceMs: number }): number {
  return sinceMs + DEADLINES.crashPollMs;
}

function absenceDeadlines(session: Session): Deadline[] {
  if (session.phase.name === 'live' && session.phase.inference !== null) return [];
  return absences(session).map((one) => deadline(one.reason, one.dueMs, true, true));
}

function vitalDeadlines({ phase, vitals, spec, errors }: Session): Deadline[] {
  if (phase.name !== 'live') return [];
  const found: Deadline[] = [];
  if (errors.consecutive > 0 && errors.lastAt !== null) {
    found.push(deadline('errors_reset', errors.lastAt.bootMs + DEADLINES.errorResetMs, false));
  }
  if (!vitals.warnedMaxDuration) {
    found.push(
      deadline(
        'max_duration_notice',
        phase.startedAt.bootMs + spec.limits.maxDurationMs - DEADLINES.maxDurationNoticeMs,
        false,
      ),
    );
  }
  if (phase.inference !== null || phase.work.kind !== 'running') return found;
  // Reached while another ending was held: it was not asked for then.
  if (errors.consecutive >= spec.limits.errorLimit && errors.lastAt !== null)
    found.push(deadline('error_limit', errors.lastAt.bootMs, false));
  if (vitals.idleAtMs !== null) found.push(deadline('idle_timeout', vitals.idleAtMs));
  if (vitals.heartbeatMs !== null)
    found.push(unresponsive(vitals.heartbeatMs, vitals.dumpAskedMs, spec.profile.heartbeatStaleMs));
  return found;
}

/** A stale worker is asked for its stacks first; what follows comes when it had its time for them. */
function unresponsive(heartbeatMs: number, dumpAskedMs: number | null, staleMs: number): Deadline {
  return deadline(
    'unresponsive',
    dumpAskedMs === null ? heartbeatMs + staleMs : dumpAskedMs + DEADLINES.dumpMs,
  );
}

/** A worker that is not connected is sent it when it connects again. */
function configDeadline(session: Session): Deadline[] {
  const { phase, config } = session;
  const unacked = config.sentMs !== null && config.ackedRev < config.rev;
  if (
    !unacked ||
    workerOf(session)?.channel !== 'open' ||
    (phase.name !== 'live' && phase.name !== 'starting')
  )
    return [];
  return [deadline('configure', (config.sentMs ?? 0) + DEADLINES.configureAgainMs, false)];
}
