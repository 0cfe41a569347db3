/** Sessions as the core makes them, for the registry. */
import { defaultProfile } from '../../../src/adapters/config/config-schema.ts';
import type { Metadata } from '../../../src/core/ids.ts';
import { claimKey, sessionId } from '../../../src/core/ids.ts';
import type { Session, SessionSpec } from '../../../src/core/model/session.ts';
import { newSession } from '../../../src/core/model/updates.ts';
import type { DurableWrite } from '../../../src/ports/registry.ts';

export interface SessionParts {
  readonly id: string;
  readonly room?: string;
  readonly agent?: string;
  readonly user?: string | null;
  readonly labels?: Readonly<Record<string, string>>;
  readonly metadata?: Metadata;
  /** The session ended at this time. Absent: it is queued. */
  readonly endedWallMs?: number;
}

export function sessionOf({
  id,
  room = `room of ${id}`,
  agent = 'default',
  user = null,
  ...rest
}: SessionParts): Session {
  const at = { bootMs: 1000, wallMs: 1_700_000_000_000 };
  const profile = defaultProfile(agent, ['true']);
  const key = { project: 'default', name: room };
  const spec: SessionSpec = {
    id: sessionId(id),
    clientId: false,
    bodyHash: 'hash',
    room: key,
    user,
    profile,
    limits: profile.limits,
    idleAsked: false,
    labels: rest.labels ?? {},
    createdAt: at,
    claim: claimKey(key, null),
    agentIdentity: 'agent',
    livekit: false,
    job: null,
  };
  return { ...newSession(spec, rest.metadata ?? {}), ...phaseAndTimes(rest.endedWallMs) };
}

function phaseAndTimes(
  endedWallMs: number | undefined,
): Pick<Session, 'phase' | 'startedAt' | 'liveAt' | 'endedAt'> {
  const none = { startedAt: null, liveAt: null, endedAt: null };
  if (endedWallMs === undefined) return { ...none, phase: { name: 'queued', grant: null } };
  const endedAt = { bootMs: 2000, wallMs: endedWallMs };
  return {
    ...none,
    endedAt,
    phase: {
      name: 'ended',
      ending: { reason: 'requested', cause: 'release', at: endedAt, by: null, detail: null },
      worker: null,
      records: [],
      roomEnd: null,
    },
  };
}

/** The write of a session with the claim of its room. An ended session holds no claim. */
export function writeOf(session: Session): DurableWrite {
  return { session, claim: session.phase.name === 'ended' ? null : session.spec.claim };
}
