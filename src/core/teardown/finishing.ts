/** A LiveKit agent that has left its room while its job still runs: its shutdown callbacks follow after that. */
import type { Session, SessionIn } from '../model/session.ts';
import { isIn } from '../model/session.ts';
import { countSide } from '../rooms/presence.ts';

/** The agent is out of the room, and its callbacks still run. The room needs no longer wait, and only the host slot is in use. */
export function isFinishing(session: Session): session is SessionIn<'closing'> {
  return isIn(session, 'closing') && session.phase.ladder.process.step === 'aclose' && isAgentOut(session);
}

function isAgentOut({ spec, presence }: Session): boolean {
  if (spec.profile.protocol !== 'livekit' || !presence.agentSeen) return false;
  return countSide(presence, spec.agentIdentity, 'own_agent') === 0;
}
