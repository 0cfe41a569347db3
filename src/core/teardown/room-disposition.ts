/** The rule for the room at the end of a session: close it, keep it, or keep and watch it. */

import type { RoomEnd, Session, SessionIn } from '../model/session.ts';
import type { Side } from '../rooms/presence.ts';
import { hasOtherAgent, onSide } from '../rooms/presence.ts';
import { mayRejoin } from './rejoin-rule.ts';

/** Decided on a snapshot that was asked for after the step began. */
export function decideRoomEnd(session: SessionIn<'closing'>): RoomEnd {
  const { phase, presence, spec } = session;
  if (!presence.roomThere) return { action: 'keep', why: 'the room is gone already' };
  if (phase.ladder.successor) return { action: 'watch', why: 'the next session is waiting for it' };
  if (mayRejoin(session)) return { action: 'keep', why: 'a caller that returns gets a new session' };
  // Under LiveKit's own runner the room of a rejected job stays, too. The phones in it are disconnected on their own.
  if (phase.ending.reason === 'declined' && spec.unasked === true)
    return { action: 'keep', why: 'the agent declined the call' };
  const { roomOnEnd } = spec.profile;
  if (roomOnEnd !== 'auto') return { action: roomOnEnd, why: `room_on_end: ${roomOnEnd}` };
  return auto(session, phase.ending.reason === 'completed', phase.ending.at.wallMs);
}

function auto(session: Session, completed: boolean, endedWallMs: number): RoomEnd {
  const { presence, spec } = session;
  const side = (wanted: Side) => onSide(presence, spec.agentIdentity, wanted);
  const callers = side('caller');
  if (callers.length >= 2) return { action: 'watch', why: 'its callers may talk to each other now' };
  if (callers.length === 1 && completed)
    return { action: 'watch', why: 'the job is done and a caller is still there' };
  if (callers.some((one) => one.joinedAtWallMs > endedWallMs))
    return { action: 'watch', why: 'a caller came after the end' };
  const phones = [...callers, ...side('ringing')];
  if (phones.length > 0 && hasOtherAgent(presence, spec.agentIdentity))
    return { action: 'watch', why: 'another agent serves its caller' };
  if (presence.roomOrigin === 'session') return { action: 'close', why: 'the session made it' };
  if (phones.length === 1 && phones[0]?.kind === 'sip')
    return { action: 'close', why: 'its only caller is a phone' };
  return { action: 'keep', why: 'others made it' };
}
