/** A session in its teardown: which event moves which track on, and when both are over. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp, WorkerId } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Session, SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell, withPhase } from '../model/updates.ts';
import { countSide } from '../rooms/presence.ts';
import { decideRoomEnd } from '../teardown/room-disposition.ts';
import {
  beginCloseRoom,
  declareUnkillable,
  endRoom,
  enterProcess,
  isGraceful,
  leaveProcess,
  repeatStepEffects,
  withLadder,
} from '../teardown/teardown.ts';
import { killLateSpawn, loseHost } from './ended.ts';
import type { HandlerTable } from './handler-table.ts';
import { ignore } from './handler-table.ts';
import { greet } from './handshake.ts';

type Closing = SessionIn<'closing'>;

export const CLOSING: HandlerTable<'closing'> = {
  tick: (session, _event, now) => andThen(processTick(session, now), (next) => roomTick(next, now)),
  spawned: onSpawned,
  spawn_failed: onSpawnFailed,
  channel: onChannel,
  message: onMessage,
  exited: onExited,
  host_lost: (session, _event, now) => loseHost(session, now),
  tree: onTree,
  room_snapshot: (session, event, now) =>
    andThen(agentGone(session, now), (next) => onSnapshot(next, event.observation.asOf.bootMs, now)),
  room_event: (session, _event, now) => agentGone(session, now),
  room_step: onRoomStep,
  release: (session, _event, now) => shorten(session, now),
  claim_wanted: (session, _event, now) => shorten(session, now),
  gap: (session, _event, now) => repeatStep(session, now),
  queued: ignore,
  record_failed: ignore,
  granted: ignore,
  assigned: ignore,
  job_terminated: ignore,
  job_withdrawn: ignore,
  expired: ignore,
  not_started: ignore,
  side_room_snapshot: ignore,
  livekit: ignore,
  keep_alive: ignore,
  metadata: ignore,
  budget: ignore,
  resources: ignore,
};

function onSpawned(session: Closing, { workerId }: { workerId: WorkerId }, now: Stamp): Next<Closing> {
  const { step } = session.phase.ladder.process;
  if (step === 'spawning') return enterProcess(session, 'term', now);
  return stay(session, isGraceful(step) ? [] : killLateSpawn(session.phase, workerId));
}

function onSpawnFailed(session: Closing, _event: object, now: Stamp): Next<Closing> {
  const { worker, ladder } = session.phase;
  return worker?.process === null && ladder.process.step !== 'over'
    ? leaveProcess(session, { outcome: 'skipped', next: 'over', now })
    : stay(session);
}

function onMessage(
  session: Closing,
  { message }: Extract<SessionEvent, { type: 'message' }>,
  now: Stamp,
): Next<Closing> {
  const isDone = message.type === 'closed' || message.type === 'failed';
  return isDone && session.phase.ladder.process.step === 'aclose'
    ? leaveProcess(session, { outcome: 'done', next: 'disconnect', now })
    : stay(session);
}

/** Some LiveKit agents never report the end of their job: that they have left the room says it. */
function agentGone(session: Closing, now: Stamp): Next<Closing> {
  const { phase, presence, spec } = session;
  if (spec.profile.protocol !== 'livekit') return stay(session);
  const there = countSide(presence, spec.agentIdentity, 'own_agent') > 0;
  if (phase.ladder.process.step !== 'aclose' || !presence.agentSeen || there) return stay(session);
  return leaveProcess(session, { outcome: 'done', next: 'disconnect', now });
}

/** A supervisor that was away, or stood still, does the step under way again. */
function repeatStep(session: Closing, now: Stamp): Next<Closing> {
  const { phase } = session;
  const { step, deadlineMs } = phase.ladder.process;
  if (phase.worker?.process == null) return stay(session);
  return stay(session, repeatStepEffects(phase, step, Math.max(0, deadlineMs - now.bootMs)));
}

/** A worker that reconnects during its teardown (the supervisor was away) is asked again. */
function onChannel(session: Closing, { open }: { open: boolean }, now: Stamp): Next<Closing> {
  if (!open) return stay(session);
  const { phase } = session;
  const { step, deadlineMs } = phase.ladder.process;
  if (step === 'reconnecting')
    return andThen(greet(session, now), (next) => enterProcess(next, 'aclose', now));
  const boundMs = Math.max(0, deadlineMs - now.bootMs);
  const again =
    step === 'aclose' ? tell(phase.worker, { type: 'aclose', reason: phase.ending.reason, boundMs }) : [];
  const disconnect = step === 'disconnect' ? tell(phase.worker, { type: 'disconnect', boundMs }) : [];
  return andThen(greet(session, now), (next) => stay(next, [...again, ...disconnect]));
}

/** The leader is gone, its descendants perhaps not: the ladder goes on until the tree is. */
function onExited(session: Closing, _event: object, now: Stamp): Next<Closing> {
  const { phase } = session;
  const { step } = phase.ladder.process;
  if (phase.worker?.exit == null) return stay(session);
  if (isGraceful(step)) return leaveProcess(session, { outcome: 'exited', next: 'reap', now });
  return step === 'spawning' ? enterProcess(session, 'reap', now) : stay(session);
}

function onTree(session: Closing, { left }: { left: number }, now: Stamp): Next<Closing> {
  const { phase } = session;
  const { step } = phase.ladder.process;
  if (phase.worker?.treeGone && step !== 'over')
    return leaveProcess(session, { outcome: 'exited', next: 'over', now });
  if (left > 0 && step === 'confirm') return declareUnkillable(session, now);
  return left > 0 && step === 'reap' ? enterProcess(session, 'term', now) : stay(session);
}

function processTick(session: Closing, now: Stamp): Next<Closing> {
  const { phase } = session;
  if (now.bootMs < phase.ladder.process.deadlineMs) return stay(session);
  switch (phase.ladder.process.step) {
    case 'aclose':
      return leaveProcess(session, { outcome: 'timeout', next: 'disconnect', now });
    case 'spawning':
    case 'reconnecting':
    case 'reap':
    case 'disconnect':
      return leaveProcess(session, { outcome: 'timeout', next: 'term', now });
    case 'term':
      return leaveProcess(session, { outcome: 'timeout', next: 'kill', now });
    case 'kill':
      // The host may have stood still since: it is dead or alive by a look made after the bound.
      return enterProcess(session, 'confirm', now);
    case 'confirm':
      return declareUnkillable(session, now);
    case 'over':
      return stay(session);
  }
}

function roomTick(session: Closing, now: Stamp): Next<Closing> {
  const { phase } = session;
  if (now.bootMs < phase.ladder.room.deadlineMs) return stay(session);
  const late = { outcome: 'timeout', detail: 'LiveKit did not answer in time', now } as const;
  switch (phase.ladder.room.step) {
    case 'remove_agent':
      return beginCloseRoom(session, late);
    case 'close_room':
      return endRoom(session, late);
    case 'waiting':
    case 'over':
      return stay(session);
  }
}

function onRoomStep(
  session: Closing,
  event: Extract<SessionEvent, { type: 'room_step' }>,
  now: Stamp,
): Next<Closing> {
  const left = { outcome: event.outcome, detail: event.detail, now };
  return event.step === 'remove_agent' ? beginCloseRoom(session, left) : endRoom(session, left);
}

/** The look that the room's rule waited for: asked after its step began. */
function onSnapshot(session: Closing, asOfMs: number, now: Stamp): Next<Closing> {
  const { room, records, roomEnd } = session.phase.ladder;
  const begun = records.findLast((record) => record.step === 'close_room');
  if (
    room.step !== 'close_room' ||
    roomEnd !== null ||
    begun === undefined ||
    asOfMs < begun.startedAt.bootMs
  )
    return stay(session);
  const decided = decideRoomEnd(session);
  const next = withLadder(session, { roomEnd: decided });
  if (decided.action !== 'close') return endRoom(next, { outcome: 'skipped', detail: decided.why, now });
  const boundMs = Math.max(1, room.deadlineMs - now.bootMs);
  return stay(next, [
    { do: 'close_room', room: session.spec.room, roomSid: session.presence.roomSid, boundMs },
  ]);
}

/** Asked to end while it wraps up, or its caller is back and waits: no longer than the ordinary bound. */
function shorten(session: Closing, now: Stamp): Next<Closing> {
  const { process } = session.phase.ladder;
  if (process.step !== 'aclose') return stay(session);
  const deadlineMs = Math.min(process.deadlineMs, now.bootMs + session.spec.profile.ladder.acloseMs);
  return stay(withLadder(session, { process: { ...process, deadlineMs } }));
}

/** Ends the session when both tracks are over. */
export function endIfOver(session: Closing, now: Stamp): Next {
  const { phase } = session;
  if (phase.ladder.process.step !== 'over' || phase.ladder.room.step !== 'over') return stay(session);
  const { startedAt, liveAt, ending, worker, ladder } = phase;
  const ended = withPhase(session, {
    name: 'ended',
    startedAt,
    liveAt,
    endedAt: endOf(phase, now),
    ending,
    worker,
    records: ladder.records,
    roomEnd: ladder.roomEnd,
  });
  return stay(ended, ladder.roomEnd?.action === 'watch' ? watchRoom(session, now) : []);
}

/** Of a worker that ended while no supervisor was there, its own end: what came after was only our late arrival. */
function endOf({ ending, ladder }: Closing['phase'], now: Stamp): Stamp {
  const begun = ladder.records[0]?.startedAt ?? now;
  return ending.cause === 'exit' && begun.bootMs - ending.at.bootMs > DEADLINES.gapCheckMs ? ending.at : now;
}

function watchRoom({ presence, spec }: Session, now: Stamp): Next['effects'] {
  if (presence.roomSid === null) return [];
  const made = presence.roomOrigin === 'session';
  const watch = {
    room: spec.room,
    roomSid: presence.roomSid,
    agentIdentity: spec.agentIdentity,
    session: spec.id,
    made,
    since: now,
    aloneSinceMs: null,
  };
  return [{ do: 'watch_room', watch }];
}
