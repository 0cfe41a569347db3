/** A kept room: its session has ended, its callers talk on. It holds no slot. Left alone, or after 4 h, it is closed. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { RoomKey, SessionId, Stamp } from '../ids.ts';
import type { Participant, RoomSnapshot } from './presence.ts';
import { sideOf } from './presence.ts';

export interface RoomWatch {
  readonly room: RoomKey;
  readonly roomSid: string;
  readonly agentIdentity: string;
  /** The session that ended, for the log; absent in what an older version recorded. */
  readonly session?: SessionId;
  /** The ended session made the room, so it is closed when one is left alone; else only for a lone phone. */
  readonly made: boolean;
  readonly since: Stamp;
  /** Since when at most one caller is there; null: two or more are. */
  readonly aloneSinceMs: number | null;
}

/** `forget`: nothing is left to do, the room is gone, another one, or nobody's business. */
export interface WatchDecision {
  readonly watch: RoomWatch;
  readonly action: 'wait' | 'close' | 'forget';
}

/** Decides on a complete look only, so that LiveKit's absence closes nothing. */
export function decideWatch(watch: RoomWatch, look: RoomSnapshot): WatchDecision {
  if (look.roomSid !== watch.roomSid) return { watch, action: 'forget' };
  const callers = look.participants.filter((one) => sideOf(one, watch.agentIdentity) === 'caller');
  const { bootMs } = look.asOf;
  const aloneSinceMs = callers.length >= 2 ? null : (watch.aloneSinceMs ?? bootMs);
  const next = { ...watch, aloneSinceMs };
  const overdue = bootMs >= watch.since.bootMs + DEADLINES.watchMaxMs;
  const alone = aloneSinceMs !== null && bootMs >= aloneSinceMs + DEADLINES.watchAloneMs;
  if (!overdue && !alone) return { watch: next, action: 'wait' };
  return { watch: next, action: watch.made || isPhoneOnly(callers) ? 'close' : 'forget' };
}

function isPhoneOnly(callers: readonly Participant[]): boolean {
  return callers.length === 1 && callers[0]?.kind === 'sip';
}
