/** A session in its teardown: which event moves which track on. */
import type { Stamp, WorkerId } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Reason } from '../model/reasons.ts';
import type { SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay } from '../model/updates.ts';
import { exitOf, isTreeGone, processOf } from '../model/worker.ts';
import { noteLateEnd } from '../teardown/cut-job.ts';
import { cutWrapUp, hasJoined, isFinishing, wrapUpOutside } from '../teardown/finishing.ts';
import { enterStep, escalateStep, leaveStep, repeatStep } from '../teardown/process-track.ts';
import { endWatch } from '../teardown/rejoin-rule.ts';
import { beginCloseRoom, beginRoom, decideRoom, endRoom } from '../teardown/room-track.ts';
import { withLadder } from '../teardown/step-records.ts';
import { STEPS } from '../teardown/steps.ts';
import { actOnDue } from './deadlines.ts';
import { killLateSpawn, loseHost } from './ended.ts';
import type { HandlerTable } from './handler-table.ts';
import { factsOnly } from './handler-table.ts';
import { greet } from './handshake.ts';

type Closing = SessionIn<'closing'>;

export const CLOSING: HandlerTable<'closing'> = {
  tick: (session, _event, now) => actOnDue(session, now),
  spawned: onSpawned,
  spawn_failed: onSpawnFailed,
  channel: onChannel,
  message: onMessage,
  exited: onExited,
  host_lost: (session, _event, now) => loseHost(session, now),
  tree: onTree,
  room_snapshot: (session, event, now) =>
    andThen(leaveRoom(session, now), (next) => decideRoom(next, event.observation.asOf.bootMs, now)),
  room_webhook: (session, _event, now) => leaveRoom(session, now),
  room_step: onRoomStep,
  release: onRelease,
  claim_wanted: onClaimWanted,
  gap: (session, _event, now) =>
    stay(session, processOf(session.phase.worker) === null ? [] : repeatStep(session, now)),
  queued: factsOnly,
  warm_taken: factsOnly,
  record_failed: factsOnly,
  granted: factsOnly,
  assigned: factsOnly,
  job_terminated: factsOnly,
  job_withdrawn: factsOnly,
  attached: factsOnly,
  answered: factsOnly,
  expired: factsOnly,
  not_started: factsOnly,
  assign_failed: factsOnly,
  side_room_snapshot: factsOnly,
  livekit: factsOnly,
  keep_alive: factsOnly,
  metadata: factsOnly,
  budget: factsOnly,
  resources: factsOnly,
};

function onSpawned(session: Closing, { workerId }: { workerId: WorkerId }, now: Stamp): Next<Closing> {
  const { step } = session.phase.ladder.process;
  if (step === 'spawning') return enterStep(session, 'term', now);
  return stay(session, STEPS[step].isGraceful ? [] : killLateSpawn(session.phase, workerId));
}

function onSpawnFailed(session: Closing, _event: object, now: Stamp): Next<Closing> {
  const { worker, ladder } = session.phase;
  return worker !== null && processOf(worker) === null && ladder.process.step !== 'over'
    ? leaveStep(session, { outcome: 'skipped', next: 'over', now })
    : stay(session);
}

function onMessage(
  session: Closing,
  { message }: Extract<SessionEvent, { type: 'message' }>,
  now: Stamp,
): Next<Closing> {
  const isDone = message.type === 'closed' || (message.type === 'failed' && message.endsLater !== true);
  if (isDone && session.phase.ladder.process.step === 'aclose')
    return leaveStep(session, { outcome: 'done', next: 'disconnect', now });
  return stay(isDone ? cutWrapUp(noteLateEnd(session), now) : session);
}

/** Because: nobody must sit in a silent room while an agent that has left it writes its notes. */
function leaveRoom(session: Closing, now: Stamp): Next<Closing> {
  return isFinishing(session) ? beginRoom(wrapUpOutside(session), now) : stay(session);
}

/** A worker that reconnects during its teardown is asked again, because the supervisor may have been away. */
function onChannel(session: Closing, { open }: { open: boolean }, now: Stamp): Next<Closing> {
  if (!open) return stay(session);
  const { phase } = session;
  const { step } = phase.ladder.process;
  if (step === 'reconnecting') return andThen(greet(session, now), (next) => enterStep(next, 'aclose', now));
  const isAsked = step === 'aclose' || step === 'disconnect';
  return andThen(greet(session, now), (next) => stay(next, isAsked ? repeatStep(next, now) : []));
}

/** Descendants of the main process can live on. So the teardown goes on until the whole tree is gone. */
function onExited(session: Closing, _event: object, now: Stamp): Next<Closing> {
  const { phase } = session;
  const { step } = phase.ladder.process;
  if (exitOf(phase.worker) === null) return stay(session);
  if (STEPS[step].isGraceful) return leaveStep(session, { outcome: 'exited', next: 'reap', now });
  if (step === 'spawning') return enterStep(session, 'reap', now);
  return step === 'term' ? enterStep(session, 'term_rest', now) : stay(session);
}

function onTree(session: Closing, { left }: { left: number }, now: Stamp): Next<Closing> {
  const { phase } = session;
  const { step } = phase.ladder.process;
  if (phase.worker !== null && isTreeGone(phase.worker) && step !== 'over')
    return leaveStep(session, { outcome: 'exited', next: 'over', now });
  return left > 0 && STEPS[step].action === 'scan' ? escalateStep(session, now) : stay(session);
}

function onRoomStep(
  session: Closing,
  event: Extract<SessionEvent, { type: 'room_step' }>,
  now: Stamp,
): Next<Closing> {
  const left = { outcome: event.outcome, detail: event.detail, now };
  return event.step === 'remove_agent' ? beginCloseRoom(session, left) : endRoom(session, left);
}

/** Because: an actor asked for the end of the call. */
function onRelease(session: Closing, { reason }: { reason: Reason }, now: Stamp): Next<Closing> {
  return andThen(shorten(session, now), (next) =>
    stay(reason === 'shutdown' ? next : withLadder(next, { released: true }), endWatch(next, reason)),
  );
}

/** Ends a wrap-up within the ordinary bound. */
function shorten(session: Closing, now: Stamp): Next<Closing> {
  return stay(cutWrapUp(session, now));
}

/** A LiveKit agent leaves the room for the next session, and its callbacks keep their time. The wrap-up of every other worker is cut. */
function onClaimWanted(session: Closing, _event: object, now: Stamp): Next<Closing> {
  const isAsked = session.phase.ladder.process.step === 'aclose';
  return isAsked && hasJoined(session) ? beginRoom(session, now) : shorten(session, now);
}
