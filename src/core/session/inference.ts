/** Inferred endings of a live session: they rest on absence, silence or errors. The host-wide budget must grant each of them. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import type { Reason } from '../model/reasons.ts';
import type { Ending, SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { stay, withPhase, withVitals } from '../model/updates.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import { absences } from './absence.ts';
import { crash } from './replacing.ts';

/** Inferred endings that rest on the worker, not on the room. */
const SILENT_REASONS = ['idle_timeout', 'unresponsive', 'error_limit'] as const;

type Live = SessionIn<'live'>;

/** Asks the budget. Only one ending waits for it at a time. */
export function infer(session: Live, ending: Ending): Next {
  const { phase } = session;
  if (phase.inference !== null) return stay(session);
  const asked = withPhase(session, { ...phase, inference: { ending, heldUntilMs: null } });
  return stay(asked, [{ do: 'ask_budget', reason: ending.reason, again: session.vitals.heldBefore }]);
}

export function onBudget(session: Live, granted: boolean, now: Stamp): Next {
  const { phase } = session;
  const { inference } = phase;
  if (inference === null || inference.heldUntilMs !== null) return stay(session);
  if (granted) return end(withPhase(session, { ...phase, inference: null }), inference.ending, now);
  const heldUntilMs = now.bootMs + DEADLINES.heldMs;
  const held = withPhase(session, { ...phase, inference: { ...inference, heldUntilMs } });
  return stay(withVitals(held, { heldBefore: true }));
}

/** A broken worker may be replaced. Every other ending is the session's. */
export function end(session: Live, ending: Ending, now: Stamp): Next {
  const broken =
    ending.reason === 'agent_absent' || ending.reason === 'unresponsive' || ending.reason === 'memory_limit';
  return broken ? crash(session, ending, now) : startTeardown(session, ending, now);
}

/** An ending that was asked for or is held is dropped as soon as its ground is gone. Then it counts as never held. */
export function dropStaleInference(session: Live, now: Stamp): Live {
  const { phase, vitals } = session;
  const { inference } = phase;
  if (inference === null && !vitals.heldBefore) return session;
  if (inference === null ? anyHolds(session, now) : holds(session, inference.ending.reason, now))
    return session;
  return withVitals(withPhase(session, { ...phase, inference: null }), { heldBefore: false });
}

function anyHolds(session: Live, now: Stamp): boolean {
  const due = absences(session).some((one) => one.inferred && one.dueMs <= now.bootMs);
  return due || SILENT_REASONS.some((reason) => holds(session, reason, now));
}

function holds(session: Live, reason: Reason, now: Stamp): boolean {
  const { vitals, errors, spec } = session;
  switch (reason) {
    case 'idle_timeout':
      return vitals.idleAtMs !== null && now.bootMs >= vitals.idleAtMs;
    case 'unresponsive':
      return vitals.dumpAskedMs !== null;
    case 'error_limit':
      return errors.consecutive >= spec.limits.errorLimit;
    default:
      return absences(session).some((one) => one.reason === reason);
  }
}
