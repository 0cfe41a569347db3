/** A crashed worker is replaced if a caller is there and the profile wants it. Otherwise the session ends. */
import { BACKOFF, DEADLINES } from '../../lib/limits/session-limits.ts';
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { Stamp, WorkerId } from '../ids.ts';
import { workerIdOf } from '../ids.ts';
import type { ClosedAgentSession, WorkerMessage } from '../model/control-protocol.ts';
import type { Effect } from '../model/effects.ts';
import { agentSessionEnding, raisedEnding } from '../model/endings.ts';
import type { Ending, Session, SessionIn, Work } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, newWorker, noteReplaced, stay, withPhase, withVitals } from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { exitOf, isTreeGone, isWarm, processOf } from '../model/worker.ts';
import { countSide } from '../rooms/presence.ts';
import { dialledEnding, notReplaced } from '../teardown/dialled.ts';
import { isMainAlone, restBoundMs, treeEffects } from '../teardown/process-track.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import type { ReplaceStep } from '../teardown/steps.ts';
import { REPLACE_STEPS } from '../teardown/steps.ts';
import { countError } from './apply-event.ts';

type Live = SessionIn<'live'>;
type Replacing = Extract<Work, { kind: 'replacing' }>;
type Old = NonNullable<Replacing['old']>;
type Unsure = NonNullable<Replacing['unsure']> | null;

/** Counts the crash as an error. The limit of errors in a row ends a session that keeps crashing. `inRow`: the count with this one. */
export function crash(session: Live, ending: Ending, now: Stamp, inRow?: number): Next {
  const { spec, phase } = session;
  if (phase.work.kind !== 'running') return stay(session);
  const { worker } = phase.work;
  const isWanted = spec.profile.replace && (diedOnAssignment(worker, now) || callerThere(session));
  const isPolled = mayBeThere(session, now);
  const dialled = spec.profile.replace ? dialledEnding(session, ending) : null;
  if (dialled !== null) return startTeardown(session, dialled, now);
  if (!isWanted && !isPolled) return startTeardown(session, ending, now);
  // A job that raised may have dialled a phone that no snapshot has shown yet.
  const isSure = isWanted && !(isPolled && ending.cause === 'exception');
  const counted = belowLimitInOutage(countCrash(session, { ending, inRow, now }));
  if (counted.errors.consecutive >= spec.limits.errorLimit) {
    const detail = `${counted.errors.consecutive} errors in a row, the last: ${counted.errors.last}`;
    return startTeardown(counted, endingOf('error_limit', now, { cause: ending.cause, detail }), now);
  }
  if (isSure) return beginReplacing(noteReplaced(counted, worker.id, ending), { worker, unsure: null, now });
  const unsure = { ending, sinceMs: now.bootMs, worker };
  return andThen(beginReplacing(counted, { worker, unsure, now }), (state) =>
    stay(state, [{ do: 'poll_room' }]),
  );
}

/** An error closed the last AgentSession of the job, and its code has opened no other yet. null: it answers its callers. */
export function agentSessionFailure({ vitals }: Session): ClosedAgentSession | null {
  return vitals.agentSessions?.failed ?? null;
}

/** When the code of an agent has had its time to open another AgentSession, such as one with another provider. null: not armed. */
export function agentSessionFailsMs({ vitals, presence }: Live): number | null {
  const { failed, closedMs = null } = vitals.agentSessions ?? {};
  if (failed === undefined || closedMs === null) return null;
  // It may have opened one while the supervisor was away. Its worker connects and reports it.
  const sinceMs = (presence.restartedMs ?? Number.NEGATIVE_INFINITY) + DEADLINES.agentSessionClosedMs;
  return Math.max(closedMs + DEADLINES.agentSessionFailedMs, sinceMs);
}

/**
 * An AgentSession that an error closed answers nobody any more, so its worker is as good as crashed. A second failure of one
 * provider soon after the next worker opened its AgentSession ends the session. Because: the caller would hear one greeting after
 * another.
 */
export function failAgentSession(session: Live, closed: ClosedAgentSession, now: Stamp): Next {
  const ending = agentSessionEnding(closed, now);
  const failed = (session.replaced ?? []).filter(({ why }) => why.provider !== undefined);
  const openedMs = session.vitals.agentSessions?.firstMs ?? workerOf(session)?.spawnedAt.bootMs ?? now.bootMs;
  const isAgain = failed.at(-1)?.why.provider === ending.provider;
  if (isAgain && now.bootMs - openedMs <= DEADLINES.sameProviderMs + DEADLINES.agentSessionFailedMs)
    return startTeardown(session, { ...ending, detail: `again after a replacement: ${ending.detail}` }, now);
  // The errors that closed it are this one failure, which the crash counts. The first failure leaves none in a row.
  return crash(session, ending, now, crashesInRow(session, now));
}

function countCrash(
  session: Live,
  { ending, inRow, now }: { ending: Ending; inRow: number | undefined; now: Stamp },
): Live {
  const counted = countError(session, ending.detail ?? ending.reason, now);
  return { ...counted, errors: { ...counted.errors, consecutive: inRow ?? counted.errors.consecutive } };
}

/**
 * While LiveKit does not answer, no worker can join its room, so crashes do not reach the limit. The next worker is tried again
 * and again, because LiveKit may answer the agent and not curfew.
 */
function belowLimitInOutage(session: Live): Live {
  const { spec, presence, errors } = session;
  if (!spec.livekit || presence.reachable) return session;
  const consecutive = Math.min(errors.consecutive, Math.max(0, spec.limits.errorLimit - 1));
  return { ...session, errors: { ...errors, consecutive } };
}

/** The replaced workers that crashed one soon after the other, up to now. A longer time of health ends the row, as for other errors. */
function crashesInRow({ replaced = [] }: Live, now: Stamp): number {
  const times = [...replaced.map(({ why }) => why.at.bootMs), now.bootMs];
  const isPause = (atMs: number, index: number) => atMs - (times[index - 1] ?? atMs) > DEADLINES.errorResetMs;
  return times.length - 1 - Math.max(0, times.findLastIndex(isPause));
}

/** The next worker runs the same code, so an exception is replaced once. */
export function crashByException(
  session: Live,
  { message }: Extract<WorkerMessage, { type: 'failed' }>,
  now: Stamp,
): Next {
  const ending = raisedEnding(message, now);
  return (session.replaced ?? []).some(({ why }) => why.cause === 'exception')
    ? startTeardown(session, notReplaced(ending, 'it was replaced before'), now)
    : crash(session, ending, now);
}

/** A warm worker can have been broken for long. So its call gets another worker, even if no caller is known yet. */
function diedOnAssignment(worker: Worker, now: Stamp): boolean {
  return isWarm(worker) && now.bootMs - worker.spawnedAt.bootMs <= WARM.provenMs;
}

function callerThere({ presence, spec }: Session): boolean {
  return spec.livekit && countSide(presence, spec.agentIdentity, 'caller') > 0;
}

/** A caller may have joined since the last poll, because webhooks can be missing. */
function mayBeThere({ presence, spec }: Session, now: Stamp): boolean {
  const asOfMs = presence.asOf?.bootMs ?? Number.NEGATIVE_INFINITY;
  return spec.profile.replace && spec.livekit && presence.reachable && asOfMs < now.bootMs;
}

/** The next worker starts only when the whole old tree is gone. */
function beginReplacing(
  session: Live,
  { worker, unsure, now }: { worker: Worker; unsure: Unsure; now: Stamp },
): Next<Live> {
  const notBeforeMs = now.bootMs + backoffMs(session, worker.id);
  const old = isTreeGone(worker) ? null : oldAt(session, { worker, step: firstStep(worker), now });
  const work: Work = { kind: 'replacing', attempt: worker.attempt + 1, notBeforeMs, old, unsure };
  return stay(withWork(session, work), old === null ? [] : stepEffects(old));
}

function firstStep(worker: Worker): ReplaceStep {
  if (exitOf(worker) !== null) return 'reap';
  return processOf(worker) === null ? 'spawning' : 'term';
}

/** Race: the spawn of the old worker succeeded after its start timeout. Then the worker is ended as any other. */
export function replaceLateSpawn(session: Live, work: Replacing, now: Stamp): Next {
  const { old } = work;
  return old?.step !== 'spawning'
    ? stay(session)
    : enterOld(session, work, { worker: old.worker, step: 'term', now });
}

function withWork(session: Live, work: Work): Live {
  const { phase } = session;
  const calm = withVitals(session, {
    heartbeatMs: null,
    dumpAskedMs: null,
    attachedBy: undefined,
    agentSessions: undefined,
    loopBlockedMs: undefined,
    overMemorySinceMs: null,
  });
  return {
    ...withPhase(calm, { ...phase, work, inference: null }),
    presence: { ...session.presence, agentGone: null, agentLeft: null },
  };
}

/** Exponential, with jitter from the worker's id. Then the workers of a mass crash do not start at the same moment. */
function backoffMs(session: Session, id: WorkerId): number {
  const base = Math.min(
    BACKOFF.maxMs,
    BACKOFF.firstMs * BACKOFF.factor ** Math.max(0, session.errors.consecutive - 1),
  );
  const spread =
    [...`${id}${session.restarts}`].reduce((sum, char) => (sum * 31 + (char.codePointAt(0) ?? 0)) % 1000, 7) /
    1000;
  return base * (1 + BACKOFF.jitter * (spread - 0.5));
}

/** A scan of the old tree, or the failure of its spawn. */
export function replaceTree(
  session: Live,
  work: Replacing,
  { left, now }: { left: number; now: Stamp },
): Next {
  if (work.old === null) return stay(session);
  if (isTreeGone(work.old.worker)) {
    const unsure = work.unsure == null ? null : { ...work.unsure, worker: work.old.worker };
    return continueWith(session, { ...work, old: null, unsure }, now);
  }
  const isScanned = REPLACE_STEPS[work.old.step].action === 'scan';
  return left > 0 && isScanned ? escalate(session, work, now) : stay(session);
}

/** The step under way did not help: its bound is over, or its scan found that the tree lives. */
export function escalate(session: Live, work: Replacing, now: Stamp): Next {
  const { old } = work;
  if (old === null) return stay(session);
  const { onTimeout } = REPLACE_STEPS[old.step];
  return isReplaceStep(onTimeout)
    ? enterOld(session, work, { worker: old.worker, step: onTimeout, now })
    : startTeardown(session, giveUpEnding(old, now), now);
}

function isReplaceStep(step: string): step is ReplaceStep {
  return Object.hasOwn(REPLACE_STEPS, step);
}

function giveUpEnding({ step, worker }: Old, now: Stamp): Ending {
  return step === 'spawning'
    ? endingOf('start_timeout', now, {
        cause: 'deadline:spawn',
        detail: `worker ${worker.id} missed its start and its spawn is still under way`,
      })
    : endingOf('unkillable', now, {
        cause: 'deadline:kill',
        detail: `worker ${worker.id} could not be killed, so none may take its place`,
      });
}

/** The main process of the old worker has ended. Its descendants get TERM and the rest of the bound. */
export function replaceOnExit(session: Live, work: Replacing, now: Stamp): Next {
  const { old } = work;
  if (old?.step !== 'term' || exitOf(old.worker) === null) return stay(session);
  return enterOld(session, work, { worker: old.worker, step: 'term_rest', now });
}

/** `before`: the step that is left. */
function oldAt(
  { spec }: Live,
  {
    worker,
    step,
    now,
    before = null,
  }: { worker: Worker; step: ReplaceStep; now: Stamp; before?: Old | null },
): Old {
  const { ladder } = spec.profile;
  const actual = step === 'term' && !isMainAlone(worker, ladder) ? 'term_rest' : step;
  const boundMs =
    actual === 'term_rest' && before?.step === 'term'
      ? restBoundMs(before.deadlineMs, ladder, now)
      : REPLACE_STEPS[actual].boundMs(ladder);
  return { worker, step: actual, deadlineMs: now.bootMs + boundMs };
}

function stepEffects({ step, worker }: Old): Effect[] {
  const { action } = REPLACE_STEPS[step];
  return action === 'aclose' || action === 'disconnect' ? [] : treeEffects(worker, action);
}

function enterOld(
  session: Live,
  work: Replacing,
  { worker, step, now }: { worker: Worker; step: ReplaceStep; now: Stamp },
): Next<Live> {
  const old = oldAt(session, { worker, step, now, before: work.old });
  return stay(withWork(session, { ...work, old }), stepEffects(old));
}

/** When the next worker may start; null: the old tree is not gone yet. The wait includes the poll that a crash asked for. */
export function nextStartMs({ old, notBeforeMs, unsure = null }: Replacing): number | null {
  if (old !== null) return null;
  return unsure === null ? notBeforeMs : Math.max(notBeforeMs, crashPollEndMs(unsure));
}

/** A poll that has not answered by then counts as an empty room. */
function crashPollEndMs({ sinceMs }: NonNullable<Unsure>): number {
  return sinceMs + DEADLINES.crashPollMs;
}

export function startIfDue(session: Live, work: Replacing, now: Stamp): Next {
  const { unsure = null } = work;
  if (unsure !== null)
    return now.bootMs >= crashPollEndMs(unsure) ? leaveIt(session, { ...work, unsure }, now) : stay(session);
  if (work.old !== null || now.bootMs < work.notBeforeMs) return stay(session);
  // Race: the phone came into sight only after the crash.
  const last = session.replaced?.at(-1)?.why;
  const dialled = last === undefined ? null : dialledEnding(session, last);
  if (dialled !== null) return startTeardown(session, dialled, now);
  const id = workerIdOf(session.spec.id, work.attempt);
  const worker = newWorker(session, { id, attempt: work.attempt, now });
  const next = withWork(session, { kind: 'running', worker });
  return stay({ ...next, restarts: session.restarts + 1 }, [
    { do: 'spawn', workerId: id, attempt: work.attempt },
  ]);
}

/** The start of this worker could not be recorded, so it was not tried. That says nothing of the call, and the start comes again. */
export function replaceUnrecorded(session: Live, { attempt }: Worker, now: Stamp): Next {
  const notBeforeMs = now.bootMs + BACKOFF.unrecordedMs;
  const uncounted = { ...session, restarts: session.restarts - 1 };
  return stay(withWork(uncounted, { kind: 'replacing', attempt, notBeforeMs, old: null, unsure: null }));
}

/** Notes the progress, and starts the next worker if nothing else is pending. */
function continueWith(session: Live, work: Replacing, now: Stamp): Next {
  return startIfDue(withWork(session, work), work, now);
}

/** The poll that a crash asked for has answered. */
export function replaceOnSnapshot(session: Live, work: Replacing, now: Stamp): Next {
  const { unsure = null } = work;
  if (unsure === null) return stay(session);
  const asOfMs = session.presence.asOf?.bootMs ?? Number.NEGATIVE_INFINITY;
  const isAnswer = asOfMs >= unsure.sinceMs;
  const isException = unsure.ending.cause === 'exception';
  const dialled = dialledEnding(session, unsure.ending);
  if (dialled !== null) return leaveIt(session, { ...work, unsure: { ...unsure, ending: dialled } }, now);
  if (callerThere(session) && (isAnswer || !isException)) {
    const noted = noteReplaced(session, unsure.worker.id, unsure.ending);
    return continueWith(noted, { ...work, unsure: null }, now);
  }
  return isAnswer ? leaveIt(session, { ...work, unsure }, now) : stay(session);
}

/** No caller is there for another worker. So the crash ends the session, and the session shows the crashed worker. */
function leaveIt(
  session: Live,
  { old, unsure }: { old: Old | null; unsure: NonNullable<Unsure> },
  now: Stamp,
): Next {
  const last = old === null ? withWork(session, { kind: 'running', worker: unsure.worker }) : session;
  return startTeardown(last, unsure.ending, now);
}

/** Does the step under way again, and asks again for the poll of a crash. Because: the supervisor was away or suspended. */
export function repeatReplaceStep(session: Live, before: Replacing, now: Stamp): Next {
  const { unsure = null } = before;
  if (unsure === null) return repeatOld(session, before, now);
  // The answer of the first poll may have gone to nobody, so the room does not count as empty yet.
  const work = { ...before, unsure: { ...unsure, sinceMs: now.bootMs } };
  return andThen(repeatOld(withWork(session, work), work, now), (state) =>
    stay(state, [{ do: 'poll_room' }]),
  );
}

function repeatOld(session: Live, work: Replacing, now: Stamp): Next<Live> {
  if (work.old === null) return stay(session);
  const { step, worker } = work.old;
  const entered = enterOld(session, work, { worker, step, now });
  // Because: only a tree that this supervisor killed is polled until it is empty, and an earlier one may have sent the SIGKILL.
  return step === 'confirm' ? stay(entered.state, treeEffects(worker, 'SIGKILL')) : entered;
}
