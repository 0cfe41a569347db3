/** The process track of a teardown: aclose → disconnect → TERM → KILL → over, with the waits between them as STEPS lists them. */
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { Ending, PhaseOf, ProcessStep, SessionIn, StepOutcome } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell, withPhase } from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { channelOf, isTreeGone } from '../model/worker.ts';
import { isFinishing } from './finishing.ts';
import { beginRoom } from './room-track.ts';
import { beginRecord, finishRecord, withLadder } from './step-records.ts';
import type { StepAction } from './steps.ts';
import { STEPS } from './steps.ts';

type Closing = SessionIn<'closing'>;
type ClosingPhase = PhaseOf<'closing'>;

/** Enters a step: its record, its bound and its effect. The room's track begins beside the first step for which it does not wait. */
export function enterStep(session: Closing, step: ProcessStep, now: Stamp): Next<Closing> {
  const actual = step === 'disconnect' && needsSignal(session) ? 'term' : step;
  const boundMs = stepBoundMs(session, actual);
  const isRecorded = STEPS[actual].recordedAs === actual;
  const begun = isRecorded ? beginRecord(session, actual, now) : session;
  const entered = withLadder(begun, { process: { step: actual, deadlineMs: now.bootMs + boundMs } });
  const done = stay(entered, stepEffects(session.phase, actual, boundMs));
  if (STEPS[actual].roomWaits && !isFinishing(entered)) return done;
  return andThen(done, (next) => beginRoom(next, now));
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
    recordedAs === null ? session : finishRecord(session, recordedAs, { outcome, detail: null, now });
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
