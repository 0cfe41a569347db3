/** A session's lines in the supervisor's own log: ids and reasons, never rooms, people or output of workers. */
import type { Session } from '../../core/model/session.ts';
import { publicState, workerOf } from '../../core/model/session.ts';
import { processOf } from '../../core/model/worker.ts';

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
  if (before.restarts !== after.restarts) {
    return {
      level: 'info',
      fields: { session: id, worker: workerOf(after)?.id, attempt: after.restarts + 1 },
      message: 'the next worker starts',
    };
  }
  return null;
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
