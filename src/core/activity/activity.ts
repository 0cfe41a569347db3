/** The use of a session as its worker reports it: speech, text, tools, and the AgentSessions of a LiveKit agent. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { WorkerMessage } from '../model/control-protocol.ts';
import type { AgentSessions, Session } from '../model/session.ts';
import { withVitals } from '../model/updates.ts';

type Said<T extends WorkerMessage['type']> = Extract<WorkerMessage, { readonly type: T }>;

/** The launcher's reason when the start of an AgentSession failed. */
const NOT_STARTED = 'not_started';
/** The framework's reason when an error that it cannot recover from closed the AgentSession. */
const BY_ERROR = 'error';

/** Tools alone count for a bounded time, because an agent that calls tools in a loop may serve nobody. */
export function noteActivity(session: Session, said: Said<'activity'>, now: Stamp): Session {
  const forMs = said.forMs ?? 0;
  const noted = said.kind === 'task' ? noteTool(session, now) : noteOtherUse(session, now, forMs);
  if (toolsAloneMs(noted, now) > DEADLINES.toolsAloneMs) return noted;
  return armIdle(noteUse(noted, now, forMs), now, forMs);
}

function noteTool(session: Session, now: Stamp): Session {
  return withVitals(session, { toolsSinceMs: session.vitals.toolsSinceMs ?? now.bootMs });
}

/** An allowed silence is a use until its end. */
function noteOtherUse(session: Session, now: Stamp, forMs: number): Session {
  const usedMs = Math.max(session.vitals.usedMs ?? 0, now.bootMs + forMs);
  return withVitals(session, { usedMs, toolsSinceMs: undefined });
}

function toolsAloneMs({ vitals: { usedMs = 0, toolsSinceMs } }: Session, now: Stamp): number {
  return toolsSinceMs === undefined ? 0 : now.bootMs - Math.max(usedMs, toolsSinceMs);
}

/** Activity arms the deadline for a worker that reports it. A report of the launcher arms only a deadline that the profile sets. */
function armIdle(session: Session, now: Stamp, forMs: number): Session {
  const { vitals, spec } = session;
  const arms = vitals.attachedBy !== 'launcher' || spec.profile.autoAttach?.armsIdle === true;
  const isFirst = vitals.idleAtMs === null && arms;
  return postponeIdle(isFirst ? withVitals(session, { idleAtMs: now.bootMs }) : session, now, forMs);
}

/** A keep-alive of the API allows a silence, as one of the worker does. */
export function keepAlive(session: Session, now: Stamp, forMs: number): Session {
  return postponeIdle(noteUse(noteOtherUse(session, now, forMs), now, forMs), now, forMs);
}

/** An allowance of silence lies in the future. A longer one from before stays. */
function noteUse(session: Session, now: Stamp, forMs: number): Session {
  return withVitals(session, { activityMs: Math.max(session.vitals.activityMs ?? 0, now.bootMs + forMs) });
}

/** Silence counts from now, or is allowed for `forMs`. A longer allowance from before stays. */
function postponeIdle(session: Session, now: Stamp, forMs: number): Session {
  const { idleAtMs } = session.vitals;
  // An idle timeout of the dispatch is noted before the session is live, and armed then.
  if (idleAtMs === null && !session.spec.idleAsked) return session;
  const allowedMs = Math.max(session.spec.limits.activityIdleTimeoutMs, forMs);
  return withVitals(session, { idleAtMs: Math.max(idleAtMs ?? 0, now.bootMs + allowedMs) });
}

/**
 * A worker that connects again repeats its report. So the time of the closing stays. A start that failed is no closing where no
 * AgentSession closed before: the agent's code may try another one.
 */
export function noteAgentSessions(
  session: Session,
  { open, closed }: Said<'agent_session'>,
  now: Stamp,
): Session {
  const before = session.vitals.agentSessions;
  const hasClosed = before?.hasClosed === true || (before?.closedMs ?? null) !== null;
  const isClosing = open === 0 && (closed?.reason !== NOT_STARTED || hasClosed);
  const agentSessions: AgentSessions = {
    open,
    firstMs: before === undefined ? now.bootMs : before.firstMs,
    closedMs: isClosing ? (before?.closedMs ?? now.bootMs) : null,
    closeReason: closed?.reason ?? null,
    ...((isClosing || hasClosed) && { hasClosed: true }),
    ...(open === 0 && closed?.reason === BY_ERROR && { failed: closed }),
  };
  const noted = withVitals(session, { agentSessions });
  // The errors that closed it are this one failure. Because: the next AgentSession may have as many errors as the framework allows.
  return agentSessions.failed === undefined
    ? noted
    : { ...noted, errors: { ...noted.errors, consecutive: 0 } };
}
