/** A call that came by itself and could not be taken: a phone that hears nothing is let go after a while, for busy beats silence. */
import type { RoomKey } from '../ids.ts';
import type { RoomSnapshot } from './presence.ts';
import { sideOf } from './presence.ts';

export interface RefusedCall {
  readonly room: RoomKey;
  /** null: not looked yet. */
  readonly roomSid: string | null;
  readonly dueMs: number;
}

export interface RefusedDecision {
  readonly call: RefusedCall;
  readonly action: 'wait' | 'close' | 'forget';
}

/** Closed only where phones alone are; an agent that came from elsewhere, or a browser that may show an error, keeps the room. */
export function decideRefused(call: RefusedCall, look: RoomSnapshot): RefusedDecision {
  const isSame = call.roomSid === null || call.roomSid === look.roomSid;
  if (look.roomSid === null || !isSame) return { call, action: 'forget' };
  const sides = look.participants.map((one) => sideOf(one, ''));
  if (sides.includes('agent')) return { call, action: 'forget' };
  const next = { ...call, roomSid: look.roomSid };
  if (look.asOf.bootMs < call.dueMs) return { call: next, action: 'wait' };
  const people = look.participants.filter(
    (_, index) => sides[index] === 'caller' || sides[index] === 'ringing',
  );
  const phonesOnly = people.length > 0 && people.every((one) => one.kind === 'sip');
  return { call: next, action: phonesOnly ? 'close' : 'forget' };
}
