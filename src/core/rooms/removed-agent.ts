/**
 * An agent that was removed from its room at the end of its session, and whose token is still valid.
 * Its process can be elsewhere, as with `docker run` or `ssh`. Then nobody ends the process, and it can join the room again.
 */
import { REMOVED } from '../../lib/limits/room-limits.ts';
import type { RoomKey, SessionId } from '../ids.ts';
import type { Participant, RoomSnapshot } from './presence.ts';
import { isAgent } from './presence.ts';

export interface RemovedAgent {
  readonly session: SessionId;
  readonly room: RoomKey;
  readonly identity: string;
  /** LiveKit did not find the agent at the removal, so the agent had left the room itself. */
  readonly hadLeft: boolean;
  /** The rooms of its session. The agent has not made them. */
  readonly roomSids: readonly string[];
  /** An earlier snapshot decides nothing, on the boot-time clock. */
  readonly quietUntilMs: number;
  /** LiveKit refuses the agent's tokens from then on, on the boot-time clock. */
  readonly endsAtMs: number;
  /** The room that the agent made, and in which nobody else was; null: there is none. */
  readonly madeSid: string | null;
  /** How often the agent was removed again. */
  readonly times: number;
}

/** `close`: the room that the agent made is empty. */
export interface RemovedDecision {
  readonly agent: RemovedAgent;
  readonly action: 'wait' | 'remove' | 'close' | 'forget';
}

/** The watches of two sessions with one identity in one room are one watch. */
export function mergeRemoved(older: RemovedAgent | undefined, newer: RemovedAgent): RemovedAgent {
  if (older === undefined) return newer;
  const roomSids = [...new Set([...newer.roomSids, ...older.roomSids])].slice(0, REMOVED.roomSids);
  return {
    ...newer,
    roomSids,
    hadLeft: newer.hadLeft && older.hadLeft,
    endsAtMs: Math.max(newer.endsAtMs, older.endsAtMs),
    times: older.times,
  };
}

/** Decides on a snapshot only. `isUsed`: another session goes on in this room, or waits for it. */
export function decideRemoved(agent: RemovedAgent, snapshot: RoomSnapshot, isUsed: boolean): RemovedDecision {
  const { bootMs } = snapshot.asOf;
  if (bootMs >= agent.endsAtMs) return { agent, action: 'forget' };
  if (bootMs < agent.quietUntilMs) return { agent, action: 'wait' };
  const back = snapshot.participants.find((one) => isThere(one) && isRemovedAgent(one, agent));
  const isItsRoom = !isUsed && snapshot.roomSid !== null && hasMade(agent, snapshot, back);
  const next = { ...agent, madeSid: isItsRoom ? snapshot.roomSid : null };
  if (back === undefined) return { agent: next, action: isItsRoom ? 'close' : 'wait' };
  const endsAtMs = Math.max(agent.endsAtMs, bootMs + REMOVED.refreshedTokenMs + REMOVED.leewayMs);
  return { agent: { ...next, endsAtMs }, action: 'remove' };
}

/** A person can have the identity, too, and stays. */
export function isRemovedAgent(one: Participant, { identity }: Pick<RemovedAgent, 'identity'>): boolean {
  return one.identity === identity && isAgent(one);
}

/** LiveKit lists a participant for a moment after it has left. */
export function isThere({ state }: Participant): boolean {
  return state !== 'disconnected';
}

/** Whether the agent made the room and nobody else is in it. A room that a program made in advance is older than its participants. */
function hasMade(agent: RemovedAgent, snapshot: RoomSnapshot, back: Participant | undefined): boolean {
  const { roomSid, roomCreatedWallMs, participants } = snapshot;
  if (participants.some((one) => isThere(one) && one !== back)) return false;
  if (roomSid === agent.madeSid) return true;
  if (back === undefined || roomCreatedWallMs === null || agent.roomSids.includes(roomSid ?? ''))
    return false;
  return Math.abs(back.joinedAtWallMs - roomCreatedWallMs) <= REMOVED.madeWithinMs;
}

/** The wait before the next removal. Because: an agent that joins again at once must not cost a request each time. */
export function quietMsAfter(times: number): number {
  return times === 0 ? REMOVED.quietMs : REMOVED.mostQuietMs;
}

/** The agent whose watch ends when there are too many: first the oldest one that had left its room itself and did not come back. */
export function firstToGo(agents: readonly RemovedAgent[]): RemovedAgent | undefined {
  return agents.find((one) => one.hadLeft && one.times === 0) ?? agents[0];
}
