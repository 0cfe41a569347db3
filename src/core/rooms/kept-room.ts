/** A kept room: its session has ended and its callers go on talking. It holds no slot. It is closed when one caller is left alone, or after 4 h. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { ClaimKey, RoomKey, SessionId, Stamp } from '../ids.ts';
import { roomId } from '../ids.ts';
import { seenBy } from './ignored.ts';
import type { IgnoreRule, Participant, RoomSnapshot } from './presence.ts';
import { hasOtherAgent, onSide } from './presence.ts';
import type { Rejoin } from './rejoin.ts';

export interface RoomWatch {
  readonly room: RoomKey;
  readonly roomSid: string;
  readonly agentIdentity: string;
  /** The session that ended, for the log. Records of older versions lack it. */
  readonly session?: SessionId;
  /** The ended session made the room. Then it is closed for any lone caller, else only for a lone phone. */
  readonly made: boolean;
  readonly since: Stamp;
  /** The boot id of the clock that all `bootMs` of the watch use. Records of older versions lack it. */
  readonly bootId?: string;
  /** Since when at most one caller is in the room; null: two or more are. */
  readonly aloneSinceMs: number | null;
  /** A caller that returns gets a new session, so the watch lasts as long as the room. Records of older versions lack it. */
  readonly rejoin?: Rejoin;
  /** The claim of the returning caller's session. Absent: the watch waits for no caller. */
  readonly claim?: ClaimKey;
  /** Participants that the ended session did not count as callers. Records of older versions lack it. */
  readonly ignore?: IgnoreRule;
}

/** A room has one watch for each claim whose caller may return, and at most one watch without a claim. */
export function watchKey({ room, claim }: Pick<RoomWatch, 'room' | 'claim'>): string {
  return claim === undefined ? roomId(room) : `${roomId(room)} ${claim}`;
}

/** `forget`: the room is gone, another room has its name, or other people own it. */
export interface WatchDecision {
  readonly watch: RoomWatch;
  readonly action: 'wait' | 'close' | 'forget';
}

/** Decides on a snapshot only. While LiveKit is unreachable no room is closed. */
export function decideWatch(watch: RoomWatch, snapshot: RoomSnapshot): WatchDecision {
  if (snapshot.roomSid !== watch.roomSid) return { watch, action: 'forget' };
  const callers = onSide(seenBy(snapshot, watch.ignore), watch.agentIdentity, 'caller');
  const { bootMs } = snapshot.asOf;
  const isServed = callers.length === 1 && hasOtherAgent(snapshot, watch.agentIdentity);
  const aloneSinceMs = callers.length >= 2 || isServed ? null : (watch.aloneSinceMs ?? bootMs);
  const next = { ...watch, aloneSinceMs };
  const overdue = bootMs >= watch.since.bootMs + DEADLINES.watchMaxMs;
  const alone = aloneSinceMs !== null && bootMs >= aloneSinceMs + DEADLINES.watchAloneMs;
  if (!overdue && !alone) return { watch: next, action: 'wait' };
  const closes = !isServed && (watch.made || isPhoneOnly(callers));
  return { watch: next, action: closes ? 'close' : 'forget' };
}

function isPhoneOnly(callers: readonly Participant[]): boolean {
  return callers.length === 1 && callers[0]?.kind === 'sip';
}
