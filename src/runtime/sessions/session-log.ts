/** A session's lines in the supervisor's own log: ids and reasons, never rooms, people or output of workers. */
import { CLOSED_BY_LEAVING } from '../../core/model/control-protocol.ts';
import type { Session } from '../../core/model/session.ts';
import { publicState, workerOf } from '../../core/model/session.ts';
import { processOf } from '../../core/model/worker.ts';
import { countSide } from '../../core/rooms/presence.ts';

/** The reasons of the frameworks, and `not_started` of the launcher. The worker's log has every other one. */
const CLOSE_REASONS: readonly string[] = [
  'error',
  'job_shutdown',
  CLOSED_BY_LEAVING,
  'user_initiated',
  'task_completed',
  'not_started',
  'unknown',
];

interface Entry {
  readonly level: 'info' | 'warn';
  readonly fields: object;
  readonly message: string;
}

/** null: the step is not worth a line. */
export function describeStep(before: Session, after: Session): Entry | null {
  const from = publicState(before);
  const to = publicState(after);
  const { id } = after.spec;
  if (from !== to) return transition(after, { id, from, to });
  const held = heldReason(after);
  if (held !== null && heldReason(before) === null) {
    return {
      level: 'warn',
      fields: { session: id, reason: held },
      message: 'too many sessions would end at once: this ending is held',
    };
  }
  const last = after.replaced?.at(-1);
  if (last !== undefined && last !== before.replaced?.at(-1)) {
    const { reason, cause } = last.why;
    return {
      level: 'warn',
      fields: { session: id, worker: last.worker, reason, cause },
      message: 'the worker is replaced',
    };
  }
  const told = attachment(before, after);
  if (told !== null) return told;
  if (before.restarts < after.restarts) {
    return {
      level: 'info',
      fields: { session: id, worker: workerOf(after)?.id, attempt: after.restarts + 1 },
      message: 'the next worker starts',
    };
  }
  return null;
}

/** The reports of an attached LiveKit agent about its job. */
function attachment(before: Session, after: Session): Entry | null {
  const { vitals, presence, spec } = after;
  const fields = { session: spec.id, worker: workerOf(after)?.id };
  if (vitals.loopBlockedMs !== undefined && before.vitals.loopBlockedMs === undefined) {
    const message = "the event loop of the worker's job is blocked; its stack is in the worker's log";
    return { level: 'warn', fields, message };
  }
  const { agentSessions: now } = vitals;
  if (now === undefined || now.open > 0) return null;
  const callers = countSide(presence, spec.agentIdentity, 'caller');
  const isClosing = before.vitals.agentSessions?.open !== 0;
  const isHangUp = now.closeReason === CLOSED_BY_LEAVING;
  if (!isClosing && !(isHangUp && hasFirstSnapshot(before, after) && callers > 0)) return null;
  // Race: the AgentSession closes before curfew hears that its caller left, so the count is not yet right.
  const isByHangUp = isClosing && isHangUp;
  const why = { ...fields, why: knownReason(now.closeReason) };
  if (isByHangUp || callers === 0) {
    const message = 'the agent closed its last AgentSession';
    return { level: 'info', fields: isByHangUp ? why : { ...why, callers }, message };
  }
  const message = 'the agent closed its last AgentSession, so nobody answers the callers';
  return { level: 'warn', fields: { ...why, callers }, message };
}

/** This snapshot is the first one since the last AgentSession closed. */
function hasFirstSnapshot(before: Session, after: Session): boolean {
  const closedMs = after.vitals.agentSessions?.closedMs ?? null;
  if (closedMs === null) return false;
  const isNewer = ({ presence: { asOf } }: Session) => asOf !== null && asOf.bootMs > closedMs;
  return isNewer(after) && !isNewer(before);
}

/** Because: the agent's process sends the text, and its own words must not enter this log. */
function knownReason(reason: string | null): string | null {
  return reason === null || CLOSE_REASONS.includes(reason) ? reason : 'other';
}

function transition(session: Session, { id, from, to }: { id: string; from: string; to: string }): Entry {
  const { phase } = session;
  const worker = workerOf(session);
  const fields = { session: id, from, to, worker: worker?.id, pid: processOf(worker)?.main?.pid };
  if (phase.name !== 'closing' && phase.name !== 'ended')
    return { level: 'info', fields, message: `session ${to}` };
  const { reason, cause } = phase.ending;
  return {
    level: to === 'failed' ? 'warn' : 'info',
    fields: { ...fields, reason, cause },
    message: `session ${to}`,
  };
}

function heldReason({ phase }: Session): string | null {
  if (phase.name !== 'live' || phase.inference === null || phase.inference.heldUntilMs === null) return null;
  return phase.inference.ending.reason;
}
