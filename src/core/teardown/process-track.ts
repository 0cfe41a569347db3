/** The process track of a teardown: aclose → disconnect → TERM → KILL → over. STEPS lists the waits between them and the two parts of TERM. */

import type { LadderBounds } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type {
  Ending,
  PhaseOf,
  ProcessStep,
  SessionIn,
  StepName,
  StepOutcome,
  StepRecord,
} from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell, withPhase } from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { channelOf, isTreeGone } from '../model/worker.ts';
import { detailOnLeave } from './cut-job.ts';
import { isFinishing } from './finishing.ts';
import { beginRoom } from './room-track.ts';
import { beginRecord, finishRecord, withLadder } from './step-records.ts';
import type { StepAction } from './steps.ts';
import { restOfTermMs, STEPS } from './steps.ts';

type Closing = SessionIn<'closing'>;
type ClosingPhase = PhaseOf<'closing'>;

/** Enters a step: its record, its bound and its effect. The room's track begins beside the first step for which it does not wait. */
export function enterStep(session: Closing, step: ProcessStep, now: Stamp): Next<Closing> {
  const actual = actualStep(session, step);
  const boundMs = boundOnEntry(session, actual, now);
  const begun = beginIfNew(session, STEPS[actual].recordedAs, now);
  const entered = withLadder(begun, { process: { step: actual, deadlineMs: now.bootMs + boundMs } });
  const done = stay(entered, stepEffects(session.phase, actual, boundMs));
  if (STEPS[actual].roomWaits && !isFinishing(entered)) return done;
  return andThen(done, (next) => beginRoom(next, now));
}

function actualStep(session: Closing, step: ProcessStep): ProcessStep {
  const asked = step === 'disconnect' && needsSignal(session) ? 'term' : step;
  return asked === 'term' && !isMainAlone(session.phase.worker, session.spec.profile.ladder)
    ? 'term_rest'
    : asked;
}

/** Whether TERM goes to the main process first. A main process that has exited, or was never known, gets none. */
export function isMainAlone(worker: Worker | null, { signal }: LadderBounds): boolean {
  return signal !== 'all' && worker?.stage === 'running' && worker.process.main !== null;
}

/** Both parts of TERM share one bound. The rest of the tree has its own least time, however late the main process ends. */
function boundOnEntry(session: Closing, step: ProcessStep, now: Stamp): number {
  const { process, records } = session.phase.ladder;
  const isSecondPart = process.step === 'term' && isOpen(records, 'term');
  if (step !== 'term_rest' || !isSecondPart) return stepBoundMs(session, step);
  return restBoundMs(process.deadlineMs, session.spec.profile.ladder, now);
}

export function restBoundMs(termDeadlineMs: number, { termMs }: LadderBounds, now: Stamp): number {
  const leastMs = restOfTermMs(termMs);
  return Math.max(leastMs, termDeadlineMs + leastMs - now.bootMs);
}

/** Several steps can share one record. */
function beginIfNew(session: Closing, name: StepName | null, now: Stamp): Closing {
  return name === null || isOpen(session.phase.ladder.records, name)
    ? session
    : beginRecord(session, name, now);
}

function isOpen(records: readonly StepRecord[], name: StepName): boolean {
  return records.some((record) => record.step === name && record.outcome === null);
}

/** A worker without a connection gets TERM in place of `disconnect`. Because: so does a LiveKit agent, since its main process never ends without a signal. */
function needsSignal({ phase, spec }: Closing): boolean {
  return channelOf(phase.worker) !== 'open' || spec.profile.protocol === 'livekit';
}

/** Ends the step under way and enters the next. */
export function leaveStep(
  session: Closing,
  { outcome, next, now }: { outcome: StepOutcome; next: ProcessStep; now: Stamp },
): Next<Closing> {
  const { recordedAs } = STEPS[session.phase.ladder.process.step];
  const left =
    recordedAs === null
      ? session
      : finishRecord(session, recordedAs, {
          outcome,
          detail: detailOnLeave(session, { step: recordedAs, outcome, now }),
          now,
        });
  return enterStep(left, next, now);
}

/** The step under way did not help: its bound is over, or its scan found that the tree lives. */
export function escalateStep(session: Closing, now: Stamp): Next<Closing> {
  const { onTimeout, recordedAs } = STEPS[session.phase.ladder.process.step];
  if (onTimeout === 'give_up') return declareUnkillable(session, now);
  const isSameRecord = recordedAs !== null && STEPS[onTimeout].recordedAs === recordedAs;
  return isSameRecord
    ? enterStep(session, onTimeout, now)
    : leaveStep(session, { outcome: 'timeout', next: onTimeout, now });
}

/** KILL did not help. Slot and claim stay held until the tree is gone. The first cause keeps its place in the detail. */
function declareUnkillable(session: Closing, now: Stamp): Next<Closing> {
  const { phase } = session;
  const first = phase.ending;
  const detail = `first cause: ${first.reason} (${first.cause})`;
  const ending: Ending = {
    ...first,
    reason: 'unkillable',
    detail: first.detail === null ? detail : `${detail}; ${first.detail}`,
  };
  const failed = withPhase(session, { ...phase, ending, ladder: { ...phase.ladder, unkillable: true } });
  return leaveStep(failed, { outcome: 'timeout', next: 'over', now });
}

export function stepBoundMs({ spec, phase }: Closing, step: ProcessStep): number {
  const { wrapUp, successor } = phase.ladder;
  return STEPS[step].boundMs(spec.profile.ladder, { wrapsUp: wrapUp && !successor });
}

function stepEffects({ worker, ending }: ClosingPhase, step: ProcessStep, boundMs: number): Effect[] {
  const { action } = STEPS[step];
  if (worker === null) return [];
  if (action === 'aclose') return tell(worker, { type: 'aclose', reason: ending.reason, boundMs });
  if (action === 'disconnect') return tell(worker, { type: 'disconnect', boundMs });
  return treeEffects(worker, action);
}

/** The effects on a tree that is not asked. */
export function treeEffects({ id }: Worker, action: Exclude<StepAction, 'aclose' | 'disconnect'>): Effect[] {
  switch (action) {
    case 'none':
      return [];
    case 'scan':
      return [{ do: 'reap', workerId: id }];
    case 'SIGTERM main':
      return [{ do: 'signal', workerId: id, signal: 'SIGTERM', to: 'main' }];
    case 'SIGTERM':
    case 'SIGKILL':
      return [{ do: 'signal', workerId: id, signal: action }];
  }
}

/** Does the step under way again, for a supervisor that was away or suspended. Because: only a tree that this supervisor killed is polled until it is empty. */
export function repeatStep({ phase }: Closing, now: Stamp): Effect[] {
  const { worker, ladder } = phase;
  const { step, deadlineMs } = ladder.process;
  const wasKilled = step === 'confirm' || ladder.unkillable;
  if (worker !== null && !isTreeGone(worker) && wasKilled) return treeEffects(worker, 'SIGKILL');
  return stepEffects(phase, step, Math.max(0, deadlineMs - now.bootMs));
}
