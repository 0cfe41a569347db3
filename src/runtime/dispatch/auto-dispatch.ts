/** Checks that LiveKit's dispatch and room patterns share. */
import type { Profile } from '../../core/model/profile.ts';
import { isEnded } from '../../core/model/session.ts';
import { sideRoomOf } from '../../core/rooms/side-room.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';

/** The agents of the config as it is now, in its order. */
export function profilesNow(deps: Pick<SupervisorDeps, 'agents' | 'profileOf'>): Profile[] {
  return deps.agents.flatMap((name) => deps.profileOf(name) ?? []);
}

/** Whether the room is the side room of a live call. No other agent is dispatched into it. */
export function isSideRoom(sessions: Pick<SessionHost, 'all'>, name: string): boolean {
  return sessions.all().some((one) => !isEnded(one) && sideRoomOf(one.spec)?.name === name);
}
