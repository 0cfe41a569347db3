/** Endings that rest on the participants of the room. They are due at a time, but only a snapshot made after it decides. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import { CLOSED_BY_LEAVING } from '../model/control-protocol.ts';
import type { Reason } from '../model/reasons.ts';
import type { Session, SessionIn } from '../model/session.ts';
import type { Worker } from '../model/worker.ts';
import { exitOf } from '../model/worker.ts';
import type { Departure } from '../rooms/presence.ts';
import { countSide } from '../rooms/presence.ts';
import { decidingDeparture, graceEndMs, phoneGraceMs } from '../rooms/presence-reducer.ts';
import { bringsNext } from '../teardown/rejoin-rule.ts';

type Running = SessionIn<'starting' | 'live'>;

export type AbsenceReason = Extract<
  Reason,
  | 'room_finished'
  | 'completed'
  | 'callers_left'
  | 'not_answered'
  | 'no_caller_joined'
  | 'no_active_stream'
  | 'agent_absent'
>;

interface Absence {
  readonly reason: AbsenceReason;
  readonly dueMs: number;
  /** Whether the mass-end budget must grant it while the session is live. A hang-up that LiveKit reported is not inferred. */
  readonly inferred: boolean;
  readonly cause: string;
  readonly detail: string | null;
}

/** For each reason the absence that will end the session if the room does not change; null: none. */
export const ABSENCES: { readonly [R in AbsenceReason]: (session: Running) => Absence | null } = {
  room_finished: ifLiveKit(roomFinished),
  completed: ifLiveKit((session) => agentLeft(session) ?? agentSessionsClosed(session)),
  callers_left: ifLiveKit((session) => only('callers_left', callersGone(session))),
  not_answered: ifLiveKit(
    (session) => only('not_answered', callersGone(session)) ?? only('not_answered', noCaller(session)),
  ),
  no_caller_joined: ifLiveKit((session) => only('no_caller_joined', noCaller(session))),
  no_active_stream: ifLiveKit(silent),
  agent_absent: ifLiveKit(agentGone),
};

export function absences(session: Running): Absence[] {
  return Object.values(ABSENCES).flatMap((one) => one(session) ?? []);
}

function ifLiveKit(find: (session: Running) => Absence | null): (session: Running) => Absence | null {
  return (session) => (session.spec.livekit ? find(session) : null);
}

function only(reason: AbsenceReason, found: Absence | null): Absence | null {
  return found?.reason === reason ? found : null;
}

function roomFinished({ presence }: Session): Absence | null {
  const { finished } = presence;
  if (finished === null || (presence.roomThere && presence.roomSid === finished.roomSid)) return null;
  return {
    reason: 'room_finished',
    dueMs: finished.at.bootMs,
    inferred: false,
    cause: 'room_finished',
    detail: `room ${finished.roomSid} was closed`,
  };
}

/** The agent left the room on its own, and did not reconnect within the grace of a phone's hang-up. */
function agentLeft(session: Session): Absence | null {
  const { agentLeft: left } = session.presence;
  const worker = runningWorker(session);
  // The departure of an older worker's agent does not count for this worker.
  if (left === null || worker === null || left.at.bootMs < worker.spawnedAt.bootMs) return null;
  const graceMs = phoneGraceMs(session.spec.limits);
  const dueMs = Math.max(left.at.bootMs + graceMs, joiningUntilMs(session, worker));
  return {
    reason: 'completed',
    dueMs,
    inferred: false,
    cause: 'participant_left',
    detail: 'the agent left the room without a request',
  };
}

/** The agent has closed its last AgentSession, so it answers nobody any more. Its shutdown callbacks still have to run. */
function agentSessionsClosed(session: Session): Absence | null {
  const { presence, spec, vitals } = session;
  const closedMs = vitals.agentSessions?.closedMs ?? null;
  // A failure is a crash, and has a deadline of its own.
  if (vitals.agentSessions?.failed !== undefined) return null;
  const isEmpty = (['caller', 'ringing'] as const).every(
    (side) => countSide(presence, spec.agentIdentity, side) === 0,
  );
  if (closedMs === null || presence.sideCallers > 0) return null;
  if (!isEmpty) return returnedToClosed(session, closedMs);
  const closeReason = vitals.agentSessions?.closeReason ?? 'unknown';
  return {
    reason: 'completed',
    dueMs: Math.max(closedMs, presence.restartedMs ?? closedMs) + DEADLINES.agentSessionClosedMs,
    inferred: true,
    cause: 'agent_session_closed',
    detail: `the agent closed its AgentSession (${closeReason}), and no caller is there`,
  };
}

/**
 * The caller came back to an agent that answers nobody. The end of this session brings the caller the next one.
 * Race: an AgentSession that closes after its caller's departure can need longer than the caller needs to come back. Its close
 * waits for a running tool. A close after a later departure belongs to that one.
 */
function returnedToClosed(session: Session, closedMs: number): Absence | null {
  const { presence, vitals } = session;
  const { returnedMs } = presence;
  if (returnedMs === undefined || !bringsNext(session)) return null;
  const hasLeftSince = presence.departures.some(({ at }) => at.bootMs > returnedMs);
  const isLateClose = vitals.agentSessions?.closeReason === CLOSED_BY_LEAVING && !hasLeftSince;
  if (returnedMs < closedMs && !isLateClose) return null;
  return {
    reason: 'completed',
    dueMs: Math.max(
      // The agent may open another AgentSession for the caller.
      Math.max(returnedMs, closedMs) + DEADLINES.returnedMs,
      // It may have opened one while the supervisor was away. Its worker connects and reports it.
      (presence.restartedMs ?? Number.NEGATIVE_INFINITY) + DEADLINES.agentSessionClosedMs,
    ),
    // Because: the worker reports it, and the mass-end budget would keep many callers with mute agents.
    inferred: false,
    cause: 'agent_session_closed',
    detail: 'a caller is back, and the agent had closed its AgentSession',
  };
}

function callersGone({ presence, spec }: Session): Absence | null {
  if (presence.goneSinceMs === null || presence.sideCallers > 0) return null;
  const { callersLostMs } = spec.limits;
  const departure = decidingDeparture(presence, callersLostMs);
  const left = departure?.kind === 'left';
  return {
    reason: presence.callersSeen ? 'callers_left' : 'not_answered',
    dueMs: left ? graceEndMs(presence, departure, spec.limits) : presence.goneSinceMs + callersLostMs,
    inferred: !left,
    cause: departure?.source === 'participant_left' ? 'participant_left' : 'presence',
    detail: departure === null ? null : describe(departure),
  };
}

function describe(departure: Departure): string {
  const how = departure.kind === 'left' ? 'hung up' : 'lost the connection';
  return `${departure.identity} (${departure.sid}) ${how}: ${departure.reason}, at ${new Date(departure.at.wallMs).toISOString()}`;
}

function noCaller(session: Running): Absence | null {
  const { startedAt, presence, spec } = session;
  if (presence.callersSeen || presence.goneSinceMs !== null || presence.sideCallers > 0) return null;
  const ringing = countSide(presence, spec.agentIdentity, 'ringing') > 0;
  const dueMs =
    Math.max(startedAt.bootMs + spec.limits.noCallerMs, presence.floorMs) +
    (ringing ? DEADLINES.ringingMs : 0);
  const detail = ringing ? 'the phone rang and was not picked up' : 'nobody joined the room';
  return {
    reason: ringing ? 'not_answered' : 'no_caller_joined',
    dueMs,
    inferred: true,
    cause: 'deadline:no_caller_joined',
    detail,
  };
}

function silent({ presence, spec, vitals, liveAt }: Session): Absence | null {
  const { noActiveStreamMs } = spec.limits;
  // Because: nobody speaks before the agent's slow start is over. `start_timeout` bounds the start.
  if (liveAt === null) return null;
  if (noActiveStreamMs === null || presence.silentSinceMs === null || presence.sideCallers > 0) return null;
  // A caller may write, or a tool may run, without any audio.
  const sinceMs = Math.max(presence.silentSinceMs, vitals.activityMs ?? 0, liveAt.bootMs);
  const dueMs = sinceMs + noActiveStreamMs;
  return {
    reason: 'no_active_stream',
    dueMs,
    inferred: true,
    cause: 'deadline:no_active_stream',
    detail: 'no caller has a published audio track',
  };
}

function agentGone(session: Session): Absence | null {
  const { agentGone: gone } = session.presence;
  const worker = runningWorker(session);
  if (gone === null || worker === null || gone.polls < DEADLINES.agentAbsentPolls) return null;
  const dueMs = Math.max(gone.sinceMs + session.spec.profile.agentAbsentMs, joiningUntilMs(session, worker));
  return {
    reason: 'agent_absent',
    dueMs,
    inferred: true,
    cause: 'deadline:agent_absent',
    detail: 'a caller is there and the agent is not',
  };
}

/** An agent that never joined, or that of a replacement, has the start timeout to join. */
function joiningUntilMs({ presence, spec }: Session, worker: Worker): number {
  const joined = presence.agentSeen && worker.attempt === 1;
  return joined ? 0 : worker.spawnedAt.bootMs + spec.limits.startTimeoutMs;
}

/** The worker that should be in the room: it is ready and has not exited. */
function runningWorker({ phase }: Session): Worker | null {
  if (phase.name !== 'live' || phase.work.kind !== 'running') return null;
  const { worker } = phase.work;
  return worker.readyByMs === null && exitOf(worker) === null ? worker : null;
}
