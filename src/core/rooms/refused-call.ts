/** An unasked call that was refused. A phone that hears nothing is disconnected after a while, because a busy tone is better than silence. */
import type { RoomKey } from '../ids.ts';
import type { RoomSnapshot } from './presence.ts';
import { sideOf } from './presence.ts';

export interface RefusedCall {
  readonly room: RoomKey;
  /** null: no snapshot has come. */
  readonly roomSid: string | null;
  readonly dueMs: number;
}

export interface RefusedDecision {
  readonly call: RefusedCall;
  readonly action: 'wait' | 'close' | 'forget';
}

/** Closes the room only if all callers are phones. An agent of another system keeps the room, and so does a browser, which can show an error. */
export function decideRefused(call: RefusedCall, snapshot: RoomSnapshot): RefusedDecision {
  const isSame = call.roomSid === null || call.roomSid === snapshot.roomSid;
  if (snapshot.roomSid === null || !isSame) return { call, action: 'forget' };
  const sides = snapshot.participants.map((one) => sideOf(one, ''));
  if (sides.includes('agent')) return { call, action: 'forget' };
  const next = { ...call, roomSid: snapshot.roomSid };
  if (snapshot.asOf.bootMs < call.dueMs) return { call: next, action: 'wait' };
  const people = snapshot.participants.filter(
    (_, index) => sides[index] === 'caller' || sides[index] === 'ringing',
  );
  const phonesOnly = people.length > 0 && people.every((one) => one.kind === 'sip');
  return { call: next, action: phonesOnly ? 'close' : 'forget' };
}
