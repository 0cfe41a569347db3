/** Makes a session's specification from the body of its dispatch. */
import { createHash } from 'node:crypto';
import type { DispatchRequest } from '../../api/session-schemas.ts';
import type { InstanceId, RoomKey, SessionId, Stamp } from '../../core/ids.ts';
import { claimKey, roomNamed, sessionId } from '../../core/ids.ts';
import { identityOfJob } from '../../core/model/agent-answer.ts';
import type { JobOrigin } from '../../core/model/job-options.ts';
import { metadataText } from '../../core/model/job-options.ts';
import { effectiveLimits } from '../../core/model/limit-overrides.ts';
import type { Session, SessionSpec } from '../../core/model/session.ts';
import { CurfewError } from '../../lib/errors.ts';
import { REJOIN } from '../../lib/limits/session-limits.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';

/** Two bodies with the same content have the same hash, in any order of their keys. */
export function hashBody(request: DispatchRequest): string {
  return createHash('sha256').update(canonical(request)).digest('base64url');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  const sorted = entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(',')}}`;
}

export interface SpecInput {
  readonly deps: SupervisorDeps;
  readonly now: Stamp;
  readonly job: JobOrigin | null;
  readonly isRequested: boolean;
}

export function makeSpec(
  request: DispatchRequest,
  { deps, now, job, isRequested: isAsked }: SpecInput,
): SessionSpec {
  const profile = deps.profileOf(request.agent);
  if (profile === null) throw unknownAgent(request.agent, deps.agents);
  const room: RoomKey = roomNamed(request.room);
  const shared = profile.claim === 'room' ? null : profile.agent;
  const id = sessionId(request.id ?? `s-${deps.newId()}`);
  // As LiveKit's own runner names an agent.
  const isLiveKitJob = job !== null && profile.protocol === 'livekit';
  return {
    id,
    clientId: request.id !== undefined,
    bodyHash: hashBody(request),
    room,
    user: request.user ?? null,
    profile,
    limits: effectiveLimits(profile.limits, request.limits),
    idleAsked: request.limits.activityIdleTimeoutMs !== undefined,
    labels: request.labels,
    createdAt: now,
    bootId: deps.instance.bootId,
    claim: claimKey(room, shared),
    agentIdentity: isLiveKitJob ? identityOfJob(id) : agentIdentity(room, { id, instance: deps.instance.id }),
    soleIdentity: true,
    livekit: deps.rooms !== null,
    job,
    ...(isAsked ? {} : { unasked: true }),
  };
}

/** Metadata that was changed since the dispatch is what the next agent reads as that of its job. */
function jobOf({ spec: { job }, config: { rev, metadata } }: Session): JobOrigin | null {
  return job === null || rev === 0 ? job : { ...job, metadata: metadataText(metadata) };
}

/** The return of a caller. */
export interface Returned {
  readonly maxDurationMs: number;
  /** When the earlier sessions for returned callers began in this room. */
  readonly begunMs: readonly number[];
}

/** The same call for the same user, by the agent as the config has it now. */
export function rejoinSpec(
  session: Session,
  { maxDurationMs, begunMs, deps, now }: Returned & { readonly deps: SupervisorDeps; readonly now: Stamp },
): SessionSpec {
  const before = session.spec;
  const profile = deps.profileOf(before.profile.agent);
  if (profile === null) throw unknownAgent(before.profile.agent, deps.agents);
  const id = sessionId(`s-${deps.newId()}`);
  const shared = profile.claim === 'room' ? null : profile.agent;
  return {
    ...before,
    id,
    clientId: false,
    profile,
    limits: { ...before.limits, maxDurationMs },
    createdAt: now,
    bootId: deps.instance.bootId,
    claim: claimKey(before.room, shared),
    agentIdentity: agentIdentity(before.room, { id, instance: deps.instance.id }),
    soleIdentity: true,
    livekit: deps.rooms !== null,
    job: jobOf(session),
    unasked: true,
    rejoin: { of: before.id, begunMs: [...begunMs, now.bootMs].slice(-REJOIN.most) },
  };
}

/**
 * The same for every worker of the session, and for no other session on any host.
 * Because: LiveKit removes an agent and its token by identity, and the agent of an earlier session may still come back.
 */
function agentIdentity(room: RoomKey, { id, instance }: { id: SessionId; instance: InstanceId }): string {
  const text = JSON.stringify([room.project, room.name, instance, id]);
  return `agent-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
}

function unknownAgent(agent: string, known: readonly string[]): CurfewError {
  return new CurfewError(
    'invalid_request',
    `agent: there is no agent "${agent}" in the config; known: ${known.join(', ') || 'none'}`,
    { field: 'agent' },
  );
}
