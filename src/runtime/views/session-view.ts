/** A session as people and programs see it: one object for HTTP, the CLI's --json and events. */
import type { SessionView } from '../../api/session-schemas.ts';
import type { Stamp } from '../../core/ids.ts';
import type { Actor, Ending, RoomEnd, Session, StepRecord } from '../../core/model/session.ts';
import { publicState, workerOf } from '../../core/model/session.ts';
import { exitOf, processOf } from '../../core/model/worker.ts';
import { countSide } from '../../core/rooms/presence.ts';
import { deadlines } from '../../core/session/deadlines.ts';
import { hasPassedClaim } from '../../core/teardown/finishing.ts';

export function sessionView(session: Session, now: Stamp, host: string): SessionView {
  const { spec, phase, errors, vitals, config } = session;
  const { startedAt, liveAt, endedAt } = session;
  const worker = workerOf(session);
  const exit = exitOf(worker);
  const endMs = endedAt?.bootMs ?? now.bootMs;
  return {
    id: spec.id,
    room: spec.room.name,
    agent: spec.profile.agent,
    user: spec.user,
    host,
    state: publicState(session),
    reason: endingOf(session)?.reason ?? null,
    createdAt: iso(spec.createdAt),
    startedAt: isoOrNull(startedAt),
    liveAt: isoOrNull(liveAt),
    endedAt: isoOrNull(endedAt),
    durationMs: startedAt === null ? 0 : Math.max(0, Math.round(endMs - startedAt.bootMs)),
    pid: processOf(worker)?.main?.pid ?? null,
    restarts: session.restarts,
    replaced: (session.replaced ?? []).map(({ worker: id, why }) => ({
      worker: id,
      reason: why.reason,
      ...endingView(why),
    })),
    exit: exit && { code: exit.code, signal: exit.signal },
    errors: { consecutive: errors.consecutive, limit: spec.limits.errorLimit, total: errors.total },
    presence: presenceView(session),
    deadlines: deadlineViews(session, now),
    finishing: phase.name === 'closing' && hasPassedClaim(session),
    rejoinOf: spec.rejoin?.of ?? null,
    metadata: { ...config.metadata },
    labels: { ...spec.labels },
    resources: phase.name === 'ended' ? null : resourcesView(vitals),
    evidence: evidenceView(session),
    held: heldView(session, now),
  };
}

function resourcesView({ resources }: Session['vitals']): SessionView['resources'] {
  if (resources === null) return null;
  const { memory, cpuPercent } = resources;
  return { memoryBytes: memory.bytes, memoryMeasure: memory.measure, rssBytes: memory.bytes, cpuPercent };
}

function endingOf({ phase }: Session): Ending | null {
  return phase.name === 'closing' || phase.name === 'ended' ? phase.ending : null;
}

function presenceView({ presence, spec }: Session): SessionView['presence'] {
  if (presence.asOf === null) return null;
  const count = (side: Parameters<typeof countSide>[2]) => countSide(presence, spec.agentIdentity, side);
  return {
    callers: count('caller'),
    ringing: count('ringing'),
    agents: count('agent') + count('own_agent'),
    asOf: iso(presence.asOf),
    source: presence.source,
  };
}

function deadlineViews(session: Session, now: Stamp): SessionView['deadlines'] {
  return deadlines(session)
    .filter((one) => one.shown)
    .map((one) => ({
      kind: one.kind,
      at: new Date(now.wallMs + one.atMs - now.bootMs).toISOString(),
      inMs: Math.round(one.atMs - now.bootMs),
    }));
}

function evidenceView(session: Session): SessionView['evidence'] {
  const { phase } = session;
  if (phase.name !== 'closing' && phase.name !== 'ended') return null;
  const { records, roomEnd } = phase.name === 'closing' ? phase.ladder : phase;
  return { ...endingView(phase.ending), ladder: records.map(stepView), room: roomView(roomEnd) };
}

function endingView({ cause, at, by, detail }: Ending) {
  return { cause, at: iso(at), by: by === null ? null : actorText(by), detail };
}

function actorText({ kind, name }: Actor): string {
  return kind === 'supervisor' ? name : `${kind}:${name}`;
}

function stepView({ step, startedAt, tookMs, outcome, detail }: StepRecord) {
  return {
    step,
    startedAt: iso(startedAt),
    tookMs: tookMs === null ? null : Math.round(tookMs),
    outcome,
    detail,
  };
}

function roomView(end: RoomEnd | null) {
  return end === null ? null : { action: end.action, why: end.why };
}

/** Why the session's inferred ending is held, and until when; null: no ending is held. */
export function heldView({ phase }: Session, now: Stamp): SessionView['held'] {
  if (phase.name !== 'live' || phase.inference === null || phase.inference.heldUntilMs === null) return null;
  const untilWallMs = now.wallMs + phase.inference.heldUntilMs - now.bootMs;
  return { reason: phase.inference.ending.reason, until: new Date(untilWallMs).toISOString() };
}

function iso(at: Stamp): string {
  return new Date(at.wallMs).toISOString();
}

function isoOrNull(at: Stamp | null): string | null {
  return at === null ? null : iso(at);
}
