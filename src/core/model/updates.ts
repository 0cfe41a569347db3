/** Small changes of a session that several rules share. Nothing here decides. */
import { BACKOFF } from '../../lib/limits/session-limits.ts';
import type { Stamp, WorkerId } from '../ids.ts';
import type { PresenceContext } from '../rooms/presence.ts';
import { NO_PRESENCE } from '../rooms/presence.ts';
import { CLOSED_BY_LEAVING } from './control-protocol.ts';
import type { Decision, Effect } from './effects.ts';
import type { Reason } from './reasons.ts';
import type {
  Actor,
  Ending,
  Phase,
  PhaseName,
  PhaseOf,
  Session,
  SessionIn,
  SessionSpec,
  TimesIn,
} from './session.ts';
import type { LaunchingWorker, Worker } from './worker.ts';
import { channelOf } from './worker.ts';

export type Next<S extends Session = Session> = Decision<S>;

export function stay<S extends Session>(session: S, effects: readonly Effect[] = []): Next<S> {
  return { state: session, effects };
}

/** Applies `step` to the state of `next`, and keeps the effects of both in order. Because: `import()` takes a module that exports `then` for a promise. */
export function andThen<A extends Session, B extends Session>(
  next: Next<A>,
  step: (session: A) => Next<B>,
): Next<B> {
  const after = step(next.state);
  return { state: after.state, effects: [...next.effects, ...after.effects] };
}

/** A session as it is before admission. */
export function newSession(spec: SessionSpec, metadata: Session['config']['metadata']): Session {
  return {
    spec,
    phase: { name: 'queued', grant: null },
    startedAt: null,
    liveAt: null,
    endedAt: null,
    errors: { consecutive: 0, total: 0, lastAt: null, last: null },
    restarts: 0,
    warmWorker: null,
    // A snapshot showed the caller that returned.
    presence: spec.rejoin === undefined ? NO_PRESENCE : { ...NO_PRESENCE, callersSeen: true },
    config: { metadata, rev: 0, ackedRev: 0, sentMs: null },
    vitals: {
      heartbeatMs: null,
      dumpAskedMs: null,
      idleAtMs: null,
      warnedMaxDuration: false,
      pollAskedMs: null,
      heldBefore: false,
      overMemorySinceMs: null,
      resources: null,
    },
  };
}

/** Changes the phase's data, and never the phase itself. */
export function withPhase<S extends Session>(session: S, phase: S['phase']): S {
  return { ...session, phase };
}

/** Moves the session into another phase, with the times that this phase knows. */
export function enterPhase<P extends PhaseName>(
  session: Session,
  phase: PhaseOf<P>,
  times: TimesIn[P],
): SessionIn<P> {
  return { ...session, ...times, phase };
}

export function withVitals<S extends Session>(session: S, change: Partial<Session['vitals']>): S {
  return { ...session, vitals: { ...session.vitals, ...change } };
}

/** Changes the session's worker if it has this id. Events of an older worker change nothing. */
export function withWorker(session: Session, id: WorkerId, change: (worker: Worker) => Worker): Session {
  const { phase } = session;
  switch (phase.name) {
    case 'queued':
      return session;
    case 'starting':
      return phase.worker.id === id
        ? withPhase(session, { ...phase, worker: change(phase.worker) })
        : session;
    case 'closing':
    case 'ended':
      return phase.worker?.id === id
        ? withPhase(session, { ...phase, worker: change(phase.worker) })
        : session;
    case 'live':
      return withPhase(session, { ...phase, work: changeWork(phase.work, id, change) });
  }
}

type Work = Extract<Phase, { name: 'live' }>['work'];

function changeWork(work: Work, id: WorkerId, change: (worker: Worker) => Worker): Work {
  if (work.kind === 'running') return work.worker.id === id ? { ...work, worker: change(work.worker) } : work;
  return work.old?.worker.id === id
    ? { ...work, old: { ...work.old, worker: change(work.old.worker) } }
    : work;
}

export function newWorker(
  session: Session,
  start: { id: WorkerId; attempt: number; now: Stamp },
): LaunchingWorker {
  return {
    stage: 'launching',
    id: start.id,
    attempt: start.attempt,
    spawnedAt: start.now,
    readyByMs: start.now.bootMs + session.spec.limits.startTimeoutMs,
    channel: 'none',
  };
}

/** Remembers for people why each of the last workers was replaced. */
export function noteReplaced<S extends Session>(session: S, worker: WorkerId, why: Ending): S {
  const before = session.replaced ?? [];
  return { ...session, replaced: [...before.slice(1 - BACKOFF.remembered), { worker, why }] };
}

export function presenceContext({ spec, vitals: { agentSessions } }: Session): PresenceContext {
  return {
    agentIdentity: spec.agentIdentity,
    createdAt: spec.createdAt,
    callersLostMs: spec.limits.callersLostMs,
    ignore: spec.profile.ignore,
    isMute: agentSessions?.open === 0 && agentSessions.closeReason === CLOSED_BY_LEAVING,
  };
}

/** Two parts are enough, because a text may end within a token. Source: RFC 7519, the header begins with `{"` in base64url. */
const TOKEN = /\beyJ[\w-]{8,}(\.[\w-]*){1,2}/g;

/** An error of LiveKit's client quotes the token that LiveKit refused. The text goes to the API, the log and the disk. */
export function withoutTokens(text: string): string {
  return text.replace(TOKEN, '[token]');
}

export function endingOf(
  reason: Reason,
  now: Stamp,
  why: { cause: string; detail?: string | null; by?: Actor },
): Ending {
  const detail = why.detail == null ? null : withoutTokens(why.detail);
  return { reason, cause: why.cause, at: now, by: why.by ?? null, detail };
}

/** Tells the worker, if its connection is open. */
export function tell(worker: Worker | null, message: Extract<Effect, { do: 'tell' }>['message']): Effect[] {
  return worker !== null && channelOf(worker) === 'open'
    ? [{ do: 'tell', workerId: worker.id, message }]
    : [];
}
