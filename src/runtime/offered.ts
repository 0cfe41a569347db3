/** What both ways in by themselves ask of a call that is offered. */
import type { Profile } from '../core/profile.ts';
import { isEnded } from '../core/session.ts';
import { sideRoomOf } from '../core/side-room.ts';
import type { Sessions } from './sessions.ts';

/** The agents of the config as it is now, in its order. */
export function profilesNow({ deps }: Sessions): Profile[] {
  return deps.agents.flatMap((name) => deps.profileOf(name) ?? []);
}

/** A live call's own: nobody is dispatched into it. */
export function isSideRoom(sessions: Sessions, name: string): boolean {
  return sessions.all().some((one) => !isEnded(one) && sideRoomOf(one.spec)?.name === name);
}
