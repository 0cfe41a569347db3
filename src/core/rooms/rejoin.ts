/** A caller that returns to a room after its session gets a new session. A watch on the room decides when. */
import { REJOIN } from '../../lib/limits/session-limits.ts';
import { seenBy } from './ignored.ts';
import type { IgnoreRule, RoomSnapshot } from './presence.ts';
import { onSide } from './presence.ts';

/** The facts about callers that may return, as the watch of a room keeps them. */
export interface Rejoin {
  /** The end of the maximum duration, on the boot-time clock. The next session has the rest of it. */
  readonly endsAtMs: number;
  /** When the earlier sessions of this kind began in this room, on the boot-time clock. */
  readonly begunMs: readonly number[];
  /** Since when a caller is there; null: nobody is. */
  readonly callerSinceMs: number | null;
  /** Since when snapshots show no such room. Absent: the last one showed it. */
  readonly goneSinceMs?: number;
}

export interface RejoinDecision {
  readonly rejoin: Rejoin;
  /** `poll`: a caller is there, and a later snapshot decides. `begin`: the next session begins now. */
  readonly action: 'wait' | 'poll' | 'begin' | 'forget';
}

interface Watched {
  readonly roomSid: string;
  readonly agentIdentity: string;
  readonly ignore?: IgnoreRule;
}

/** Decides on a snapshot only. A dispatch for the room comes first, so the caller waits a moment for it. */
export function decideRejoin(watch: Watched, rejoin: Rejoin, snapshot: RoomSnapshot): RejoinDecision {
  const { bootMs } = snapshot.asOf;
  const isOver = bootMs + REJOIN.leastMs > rejoin.endsAtMs;
  if (isOver) return { rejoin, action: 'forget' };
  if (snapshot.roomSid === null) return whileGone(rejoin, bootMs);
  if (snapshot.roomSid !== watch.roomSid) return { rejoin, action: 'forget' };
  const { goneSinceMs: _gone, ...seen } = rejoin;
  const isCallerThere = onSide(seenBy(snapshot, watch.ignore), watch.agentIdentity, 'caller').length > 0;
  if (!isCallerThere) return { rejoin: { ...seen, callerSinceMs: null }, action: 'wait' };
  const callerSinceMs = rejoin.callerSinceMs ?? bootMs;
  const next = { ...seen, callerSinceMs };
  if (bootMs < callerSinceMs + REJOIN.afterMs) return { rejoin: next, action: 'poll' };
  const recent = rejoin.begunMs.filter((one) => bootMs - one < REJOIN.withinMs);
  return { rejoin: next, action: recent.length < REJOIN.most ? 'begin' : 'wait' };
}

/** LiveKit sometimes answers with an empty list. So a later snapshot must show it, too, that the room is gone. */
function whileGone(rejoin: Rejoin, bootMs: number): RejoinDecision {
  const goneSinceMs = rejoin.goneSinceMs ?? bootMs;
  const isGone = bootMs >= goneSinceMs + REJOIN.goneMs;
  return { rejoin: { ...rejoin, goneSinceMs }, action: isGone ? 'forget' : 'wait' };
}
