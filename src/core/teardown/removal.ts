/** The removal of a session's agent from its room, and for how long the agent's token outlasts it. */
import { REMOVED, TOKENS } from '../../lib/limits/room-limits.ts';
import type { Stamp } from '../ids.ts';
import { bootMsByWallClock } from '../ids.ts';
import type { Session, StepRecord } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { RemovedAgent } from '../rooms/removed-agent.ts';

/** null: the session's agent has no token, or was not removed, or its token has expired, or its identity is not its own. */
export function removedAgentOf(
  session: Session,
  { now, bootId }: { readonly now: Stamp; readonly bootId: string },
): RemovedAgent | null {
  const { spec, startedAt, presence } = session;
  if (!spec.livekit || startedAt === null || !isAgentRemoved(session) || !isSole(spec)) return null;
  const spawnedAt = workerOf(session)?.spawnedAt ?? startedAt;
  const bootMsOf = (one: Stamp) => (spec.bootId === bootId ? one.bootMs : bootMsByWallClock(one, now));
  const { startTimeoutMs, maxDurationMs } = spec.limits;
  const madeByMs = Math.max(bootMsOf(startedAt), bootMsOf(spawnedAt)) + startTimeoutMs;
  const endsAtMs = Math.max(
    madeByMs + maxDurationMs + TOKENS.graceMs,
    bootMsOf(session.endedAt ?? now) + REMOVED.refreshedTokenMs,
  );
  if (now.bootMs >= endsAtMs + REMOVED.leewayMs) return null;
  const sids = presence.roomSid === null ? presence.oldSids : [presence.roomSid, ...presence.oldSids];
  return {
    session: spec.id,
    room: spec.room,
    identity: spec.agentIdentity,
    hadLeft: hadLeft(removalOf(session)),
    roomSids: sids.slice(0, REMOVED.roomSids),
    quietUntilMs: now.bootMs,
    endsAtMs: endsAtMs + REMOVED.leewayMs,
    madeSid: null,
    times: 0,
  };
}

/** The agent of another session, also on another host, can have every other identity. */
function isSole({ soleIdentity, agentIdentity, ownIdentity = agentIdentity }: Session['spec']): boolean {
  return soleIdentity === true && agentIdentity === ownIdentity;
}

/**
 * Whether the session's agent does not belong into its room any more. A person with its identity keeps it, so that step is skipped.
 * After a reboot a session ends without a removal, and an agent elsewhere can be in the room.
 */
export function isAgentRemoved(session: Session): boolean {
  const outcome = removalOf(session)?.outcome ?? null;
  return outcome === null ? session.phase.name === 'ended' : outcome !== 'skipped';
}

/** LiveKit did not find the agent. */
function hadLeft(removal: StepRecord | null): boolean {
  return removal?.outcome === 'done' && removal.detail !== null;
}

/** null: there was no removal. */
function removalOf({ phase }: Session): StepRecord | null {
  if (phase.name !== 'closing' && phase.name !== 'ended') return null;
  const records = phase.name === 'closing' ? phase.ladder.records : phase.records;
  return records.findLast(({ step }) => step === 'remove_agent') ?? null;
}
