/** A room beside the session's own, for example for a warm transfer. curfew takes no call there, and its callers keep the session in use. */
import type { RoomKey, Stamp } from '../ids.ts';
import type { Presence, RoomSnapshot } from './presence.ts';
import { onSide } from './presence.ts';

interface RoomAndProfile {
  readonly room: RoomKey;
  readonly profile: { readonly sideRooms: string | null };
}

export function sideRoomOf({ room, profile }: RoomAndProfile): RoomKey | null {
  const { sideRooms } = profile;
  return sideRooms == null
    ? null
    : { project: room.project, name: sideRooms.replaceAll('{room}', () => room.name) };
}

export function callersIn(snapshot: RoomSnapshot): number {
  return onSide(snapshot, '', 'caller').length;
}

/** Callers on their way back from the side room have the grace of a departure. */
export function applySideSnapshot(presence: Presence, callers: number, now: Stamp): Presence {
  const emptied = presence.sideCallers > 0 && callers === 0;
  const { goneSinceMs } = presence;
  return {
    ...presence,
    sideCallers: callers,
    goneSinceMs: emptied && goneSinceMs !== null ? Math.max(goneSinceMs, now.bootMs) : goneSinceMs,
    floorMs: emptied ? Math.max(presence.floorMs, now.bootMs) : presence.floorMs,
  };
}
