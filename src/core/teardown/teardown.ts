/**
 * The bounded steps of a teardown, in two tracks side by side.
 * process: aclose → disconnect → TERM → KILL → over. room: remove our agent → close the room → over, beginning beside TERM.
 * The first cause is never replaced; only a process that nothing kills adds its own word, `unkillable`.
 */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import { reportEnd } from '../model/livekit-job.ts';
import type {
  Ending,
  Ladder,
  OpenSession,
  PhaseOf,
  ProcessStep,
  Session,
  SessionIn,
  StepName,
  StepOutcome,
  StepRecord,
  Worker,
} from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell, withPhase, withVitals } from '../model/updates.ts';
import { countSide } from '../rooms/presence.ts';

type Closing = SessionIn<'closing'>;
type ClosingPhase = PhaseOf<'closing'>;
/** How a step was left. */
type Left = { readonly outcome: StepOutcome; readonly detail: string | null; readonly now: Stamp };

/** Begins the end: both tracks of the ladder, each with its first step. */
export function startTeardown(session: OpenSession, ending: Ending, now: Stamp): Next<Closing> {
  const worker = workerOf(session);
  const first = firstStep(worker, ending);
  const ladder: Ladder = {
    process: { step: first, deadlineMs: now.bootMs },
    room: { step: 'waiting', deadlineMs: now.bootMs },
    records: [],
    unkillable: false,
    wrapUp:
      (first === 'aclose' || first === 'reconnecting') &&
      ending.reason !== 'shutdown' &&
      noCallerLeft(session),
    successor: false,
    roomEnd: null,
  };
  // Before anything makes the agent leave: LiveKit takes an agent that left for a failed job.
  const told = stay(
    withPhase(session, { name: 'closing', ...startTimes(session), ending, worker, ladder }),
    reportEnd(session, ending),
  );
  return andThen(told, (next) => enterProcess(next, first, now));
}

function startTimes({ phase }: OpenSession) {
  return {
    startedAt: phase.name === 'queued' ? null : phase.startedAt,
    liveAt: phase.name === 'live' ? phase.liveAt : null,
  };
}

function firstStep(worker: Worker | null, ending: Ending): ProcessStep {
  if (worker === null || worker.treeGone) return 'over';
  if (worker.exit !== null) return 'reap';
  if (worker.process === null) return 'spawning';
  // A worker that cannot hear is not asked; one that said it is done, or can do no more, need not be asked to close.
  const deaf = ending.reason === 'unresponsive' || ending.reason === 'memory_limit';
  if (worker.channel === 'none' || deaf) return 'term';
  if (ending.cause === 'closed' || ending.cause === 'failed') return 'disconnect';
  return worker.channel === 'open' ? 'aclose' : 'reconnecting';
}

/** The steps in which the worker ends by itself. */
export function isGraceful(step: ProcessStep): boolean {
  return step === 'reconnecting' || step === 'aclose' || step === 'disconnect';
}

function noCallerLeft({ presence, spec }: Session): boolean {
  if (!spec.livekit || !presence.reachable || presence.asOf === null) return false;
  return countSide(presence, spec.agentIdentity, 'caller') === 0;
}

/** Enters a step of the process track: its record, its bound, its effect; beside TERM the room's track begins. */
export function enterProcess(session: Closing, step: ProcessStep, now: Stamp): Next<Closing> {
  const { phase } = session;
  // A LiveKit agent's main process never ends by itself.
  const silent = phase.worker?.channel !== 'open' || session.spec.profile.protocol === 'livekit';
  const heard = step === 'disconnect' && silent ? 'term' : step;
  const boundMs = processBoundMs(session, heard);
  const recorded = isRecorded(heard) ? [...phase.ladder.records, begin(heard, now)] : phase.ladder.records;
  const ladder: Ladder = {
    ...phase.ladder,
    process: { step: heard, deadlineMs: now.bootMs + boundMs },
    records: recorded,
  };
  const entered = stay(withPhase(session, { ...phase, ladder }), processEffects(phase, heard, boundMs));
  if (heard === 'spawning' || isGraceful(heard)) return entered;
  return andThen(entered, (next) => beginRoom(next, now));
}

function isRecorded(step: ProcessStep): step is 'aclose' | 'disconnect' | 'term' | 'kill' {
  return step === 'aclose' || step === 'disconnect' || step === 'term' || step === 'kill';
}

function processBoundMs({ spec, phase }: Closing, step: ProcessStep): number {
  const { ladder } = spec.profile;
  switch (step) {
    case 'reconnecting':
      return DEADLINES.reconnectMs;
    case 'aclose':
      return phase.ladder.wrapUp && !phase.ladder.successor
        ? Math.max(ladder.wrapUpMs, ladder.acloseMs)
        : ladder.acloseMs;
    case 'disconnect':
      return ladder.disconnectMs;
    case 'term':
      return ladder.termMs;
    case 'kill':
      return ladder.killMs;
    case 'reap':
      return DEADLINES.reapMs;
    case 'confirm':
      return DEADLINES.confirmMs;
    case 'spawning':
      return DEADLINES.spawnMs;
    case 'over':
      return 0;
  }
}

/** What a step wants done; doing it again does no harm. */
function processEffects(phase: ClosingPhase, step: ProcessStep, boundMs: number): Effect[] {
  const { worker, ending } = phase;
  if (worker === null) return [];
  switch (step) {
    case 'aclose':
      return tell(worker, { type: 'aclose', reason: ending.reason, boundMs });
    case 'disconnect':
      return tell(worker, { type: 'disconnect', boundMs });
    case 'reap':
    case 'confirm':
      return [{ do: 'reap', workerId: worker.id }];
    case 'term':
      return [{ do: 'signal', workerId: worker.id, signal: 'SIGTERM' }];
    case 'kill':
      return [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }];
    case 'spawning':
    case 'reconnecting':
    case 'over':
      return [];
  }
}

/** The same for a supervisor that may be another one: who was killed before is killed again, for only that is watched until it is gone. */
export function repeatStepEffects(phase: ClosingPhase, step: ProcessStep, boundMs: number): Effect[] {
  const { worker, ladder } = phase;
  const wasKilled = step === 'confirm' || ladder.unkillable;
  if (worker === null || worker.treeGone || !wasKilled) return processEffects(phase, step, boundMs);
  return [{ do: 'signal', workerId: worker.id, signal: 'SIGKILL' }];
}

/** After a gap the steps under way have their own bounds again, and no more: a host that keeps standing still must not stretch them. */
export function restartStepBounds(session: Closing, now: Stamp): Closing {
  const { phase, spec } = session;
  const { process, room, records } = phase.ladder;
  const begun = records.findLast((record) => record.step === process.step);
  // A wrap-up that was shortened stays short.
  const allowedMs =
    begun === undefined ? Number.POSITIVE_INFINITY : process.deadlineMs - begun.startedAt.bootMs;
  const boundMs = Math.min(processBoundMs(session, process.step), allowedMs);
  const { removeAgentMs, closeRoomMs } = spec.profile.ladder;
  const roomMs = room.step === 'remove_agent' ? removeAgentMs : room.step === 'close_room' ? closeRoomMs : 0;
  const ladder: Ladder = {
    ...phase.ladder,
    process: { ...process, deadlineMs: Math.max(process.deadlineMs, now.bootMs + boundMs) },
    room: { ...room, deadlineMs: Math.max(room.deadlineMs, now.bootMs + roomMs) },
  };
  return withPhase(session, { ...phase, ladder });
}

/** Ends the step under way and enters the next. */
export function leaveProcess(
  session: Closing,
  leave: { outcome: StepOutcome; next: ProcessStep; now: Stamp },
): Next<Closing> {
  const { phase } = session;
  // The look that confirms it belongs to KILL.
  const step = phase.ladder.process.step === 'confirm' ? 'kill' : phase.ladder.process.step;
  const records = isRecorded(step)
    ? finish(phase.ladder.records, { step, outcome: leave.outcome, detail: null, now: leave.now })
    : phase.ladder.records;
  const left = withPhase(session, { ...phase, ladder: { ...phase.ladder, records } });
  return enterProcess(left, leave.next, leave.now);
}

/** KILL did not help within its bound, and a look made after it found it alive or did not come back: say so, and keep slot and claim until it is seen gone. */
export function declareUnkillable(session: Closing, now: Stamp): Next<Closing> {
  const { phase } = session;
  const first = phase.ending;
  const detail = `first cause: ${first.reason} (${first.cause})`;
  const ending: Ending = {
    ...first,
    reason: 'unkillable',
    detail: first.detail === null ? detail : `${detail}; ${first.detail}`,
  };
  const failed = withPhase(session, { ...phase, ending, ladder: { ...phase.ladder, unkillable: true } });
  return leaveProcess(failed, { outcome: 'timeout', next: 'over', now });
}

function beginRoom(session: Closing, now: Stamp): Next<Closing> {
  const { phase, spec } = session;
  if (phase.ladder.room.step !== 'waiting') return stay(session);
  if (!spec.livekit || phase.startedAt === null)
    return stay(withRoom(session, { step: 'over', deadlineMs: now.bootMs }));
  const boundMs = spec.profile.ladder.removeAgentMs;
  const begun = withRecord(
    withRoom(session, { step: 'remove_agent', deadlineMs: now.bootMs + boundMs }),
    begin('remove_agent', now),
  );
  return stay(begun, [{ do: 'remove_agent', room: spec.room, identity: spec.agentIdentity, boundMs }]);
}

/** The room's last step begins with a look, so that its rule is decided on what is there now. */
export function beginCloseRoom(session: Closing, left: Left): Next<Closing> {
  const { phase, spec } = session;
  if (phase.ladder.room.step !== 'remove_agent') return stay(session);
  const done = finishRecord(session, { step: 'remove_agent', ...left });
  const deadlineMs = left.now.bootMs + spec.profile.ladder.closeRoomMs;
  const begun = withRecord(withRoom(done, { step: 'close_room', deadlineMs }), begin('close_room', left.now));
  return stay(withVitals(begun, { pollAskedMs: left.now.bootMs }), [{ do: 'poll_room' }]);
}

export function endRoom(session: Closing, left: Left): Next<Closing> {
  if (session.phase.ladder.room.step !== 'close_room') return stay(session);
  const done = finishRecord(session, { step: 'close_room', ...left });
  return stay(withRoom(done, { step: 'over', deadlineMs: left.now.bootMs }));
}

function begin(step: StepName, now: Stamp): StepRecord {
  return { step, startedAt: now, tookMs: null, outcome: null, detail: null };
}

function finish(records: readonly StepRecord[], end: Left & { readonly step: StepName }): StepRecord[] {
  return records.map((record) =>
    record.step === end.step && record.outcome === null
      ? {
          ...record,
          tookMs: end.now.bootMs - record.startedAt.bootMs,
          outcome: end.outcome,
          detail: end.detail,
        }
      : record,
  );
}

function finishRecord(session: Closing, end: Left & { readonly step: StepName }): Closing {
  return withLadder(session, { records: finish(session.phase.ladder.records, end) });
}

function withRecord(session: Closing, record: StepRecord): Closing {
  return withLadder(session, { records: [...session.phase.ladder.records, record] });
}

function withRoom(session: Closing, room: Ladder['room']): Closing {
  return withLadder(session, { room });
}

export function withLadder(session: Closing, change: Partial<Ladder>): Closing {
  const { phase } = session;
  return withPhase(session, { ...phase, ladder: { ...phase.ladder, ...change } });
}
