/** Endings that rest on who is in the room. They are due at a time, but decided only by a look made after it. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Reason } from '../model/reasons.ts';
import type { Session, Worker } from '../model/session.ts';
import type { Departure } from '../rooms/presence.ts';
import { countSide } from '../rooms/presence.ts';
import { decidingDeparture } from '../rooms/presence-reducer.ts';

export interface Absence {
  readonly reason: Reason;
  readonly dueMs: number;
  /** Passes the mass-end budget; a hang-up that was told is not inferred. */
  readonly inferred: boolean;
  readonly cause: string;
  readonly detail: string | null;
}

/** All that would end the session if it stays as it is, soonest first. None without LiveKit. */
export function absences(session: Session): Absence[] {
  const { phase, spec } = session;
  if (!spec.livekit || (phase.name !== 'starting' && phase.name !== 'live')) return [];
  const found = [
    roomFinished(session),
    agentLeft(session),
    callersGone(session),
    noCaller(session),
    silent(session),
    agentGone(session),
  ];
  return found.filter((one) => one !== null).sort((a, b) => a.dueMs - b.dueMs);
}

/** The absence that this look, asked for at `asOfMs`, decides. */
export function decidedAbsence(session: Session, asOfMs: number): Absence | null {
  return absences(session).find((one) => asOfMs >= one.dueMs) ?? null;
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

/** Left by itself: its own word, and no reconnection within the grace of a hang-up. */
function agentLeft(session: Session): Absence | null {
  const { agentLeft: left } = session.presence;
  const worker = runningWorker(session);
  // What the agent of an older worker did is not this one's doing.
  if (left === null || worker === null || left.at.bootMs < worker.spawnedAt.bootMs) return null;
  const dueMs = Math.max(left.at.bootMs + session.spec.limits.callersLeftMs, joiningUntilMs(session, worker));
  return {
    reason: 'completed',
    dueMs,
    inferred: false,
    cause: 'participant_left',
    detail: 'the agent left the room by itself',
  };
}

function callersGone({ presence, spec }: Session): Absence | null {
  if (presence.goneSinceMs === null || presence.sideCallers > 0) return null;
  const { callersLostMs, callersLeftMs } = spec.limits;
  const departure = decidingDeparture(presence, callersLostMs);
  const left = departure?.kind === 'left';
  return {
    reason: presence.callersSeen ? 'callers_left' : 'not_answered',
    dueMs: presence.goneSinceMs + (left ? callersLeftMs : callersLostMs),
    inferred: !left,
    cause: departure?.source === 'participant_left' ? 'participant_left' : 'presence',
    detail: departure === null ? null : describe(departure),
  };
}

function describe(departure: Departure): string {
  const how = departure.kind === 'left' ? 'hung up' : 'lost the connection';
  return `${departure.identity} (${departure.sid}) ${how}: ${departure.reason}, at ${new Date(departure.at.wallMs).toISOString()}`;
}

function noCaller(session: Session): Absence | null {
  const { phase, presence, spec } = session;
  if (presence.callersSeen || presence.goneSinceMs !== null || presence.sideCallers > 0) return null;
  if (phase.name !== 'starting' && phase.name !== 'live') return null;
  const ringing = countSide(presence, spec.agentIdentity, 'ringing') > 0;
  const dueMs =
    Math.max(phase.startedAt.bootMs + spec.limits.noCallerMs, presence.floorMs) +
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

function silent({ presence, spec }: Session): Absence | null {
  const { noActiveStreamMs } = spec.limits;
  if (noActiveStreamMs === null || presence.silentSinceMs === null || presence.sideCallers > 0) return null;
  const dueMs = presence.silentSinceMs + noActiveStreamMs;
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

/** One that was never there, or that of a replacement, may still be on its way in. */
function joiningUntilMs({ presence, spec }: Session, worker: Worker): number {
  const joined = presence.agentSeen && worker.attempt === 1;
  return joined ? 0 : worker.spawnedAt.bootMs + spec.limits.startTimeoutMs;
}

/** The worker that should be in the room: started, ready and not known to have ended. */
function runningWorker({ phase }: Session): Worker | null {
  if (phase.name !== 'live' || phase.work.kind !== 'running') return null;
  const { worker } = phase.work;
  return worker.readyByMs === null && worker.exit === null ? worker : null;
}
