/** Whether a caller that returns to the room gets a new session, and the watch that waits for the caller. */
import type { Stamp } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { Reason } from '../model/reasons.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { countingListeners } from '../rooms/ignored.ts';
import type { RoomWatch } from '../rooms/kept-room.ts';
import { wasDialled } from './dialled.ts';

type Over = SessionIn<'closing' | 'ended'>;

/** The callers had left, or the agent answered nobody any more. Every other end was wanted, or a fault. */
export function mayRejoin(session: Over): boolean {
  const { phase, presence, spec } = session;
  if (phase.name === 'closing' && phase.ladder.released === true) return false;
  if (!isOpenEnd(phase) || presence.roomSid === null || spec.profile.roomOnEnd === 'close') return false;
  return bringsNext(session);
}

function isOpenEnd(phase: Over['phase']): boolean {
  const { reason, cause } = phase.ending;
  if (reason === 'callers_left' || reason === 'no_caller_joined' || cause === 'agent_session_closed')
    return true;
  // An agent can end its job, or raise, because its caller left. To the caller that is a reload like any other.
  const isByAgent = reason === 'completed' || cause === 'exception';
  return isByAgent && phase.name === 'closing' && phase.ladder.callersLeft === true;
}

/** Whether the session is of a kind whose caller gets a next one. */
export function bringsNext(session: Pick<Session, 'dialled' | 'presence' | 'spec'>): boolean {
  const { rejoin = 'off' } = session.spec.profile;
  // The agent of an outbound call would dial again.
  const isAuto = session.spec.unasked === true && !wasDialled(session);
  return rejoin === 'always' || (rejoin === 'auto' && isAuto);
}

/** null: a caller that returns gets no session. */
export function rejoinWatch(session: Over, now: Stamp): RoomWatch | null {
  const { presence, spec, startedAt } = session;
  if (!mayRejoin(session) || presence.roomSid === null) return null;
  const { ignore } = spec.profile;
  // The caller of a next session that did not start left again before it. That session counts as none.
  const begunMs = spec.rejoin?.begunMs ?? [];
  return {
    ...watchOf(session, presence.roomSid, now),
    // Where nobody ever spoke the listeners are the callers, and they may return, too.
    ...(ignore !== undefined && presence.speakerSeen !== true && { ignore: countingListeners(ignore) }),
    claim: spec.claim,
    rejoin: {
      endsAtMs: (startedAt ?? spec.createdAt).bootMs + spec.limits.maxDurationMs,
      begunMs: startedAt === null ? begunMs.slice(0, -1) : begunMs,
      callerSinceMs: null,
    },
  };
}

export function watchOf({ presence, spec }: Session, roomSid: string, now: Stamp): RoomWatch {
  return {
    room: spec.room,
    roomSid,
    agentIdentity: spec.agentIdentity,
    session: spec.id,
    made: presence.roomOrigin === 'session',
    since: now,
    ...(spec.bootId !== undefined && { bootId: spec.bootId }),
    aloneSinceMs: null,
    ...(spec.profile.ignore !== undefined && { ignore: spec.profile.ignore }),
  };
}

/** From the beginning of the teardown on, because a page is loaded again while the agent writes its notes. */
export function watchForReturn(session: SessionIn<'closing'>, now: Stamp): Effect[] {
  const watch = rejoinWatch(session, now);
  return watch === null ? [] : [{ do: 'watch_room', watch }];
}

/** A release ends the watch, too: an actor asked for the end of the call. A stop of the supervisor is no end of this call alone. */
export function endWatch({ spec }: Over, reason: Reason): Effect[] {
  if (reason === 'shutdown') return [];
  return [{ do: 'unwatch_room', room: spec.room, session: spec.id }];
}
