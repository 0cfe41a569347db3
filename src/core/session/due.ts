/** Acts on the deadlines that have passed. */
import type { Stamp } from '../ids.ts';
import type { SessionIn } from '../model/session.ts';
import { isIn, workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, stay, tell, withPhase, withVitals } from '../model/updates.ts';
import { startTeardown } from '../teardown/teardown.ts';
import type { Deadline } from './deadlines.ts';
import { deadlines, requestPoll } from './deadlines.ts';
import { errorLimit, startTimeoutEnding, unresponsive } from './endings.ts';
import { sendConfigure } from './handshake.ts';
import { infer } from './inference.ts';
import { crash, replaceTick } from './replacing.ts';

type Live = SessionIn<'live'>;

/** In the order of their times, until one of them ends the session. */
export function actOnDue(session: SessionIn<'starting' | 'live'>, now: Stamp): Next {
  const due = deadlines(session).filter((one) => one.atMs <= now.bootMs);
  return due.reduce<Next>(
    (next, one) =>
      andThen(next, (state) => (isIn(state, 'starting', 'live') ? act(state, one, now) : stay(state))),
    stay(session),
  );
}

function act(session: SessionIn<'starting' | 'live'>, due: Deadline, now: Stamp): Next {
  if (due.needsPoll) return requestPoll(session, due.atMs, now);
  if (due.kind === 'configure') return sendConfigure(session, now);
  if (due.kind === 'max_duration')
    return startTeardown(
      session,
      endingOf('max_duration', now, {
        cause: 'deadline:max_duration',
        detail: `longer than ${session.spec.limits.maxDurationMs} ms`,
      }),
      now,
    );
  return isIn(session, 'live') ? actInLive(session, due, now) : stay(session);
}

function actInLive(session: Live, due: Deadline, now: Stamp): Next {
  switch (due.kind) {
    case 'max_duration_notice':
      return warn(session, now);
    case 'start_timeout':
      return crash(session, startTimeoutEnding(session, now), now);
    case 'idle_timeout':
      return infer(
        session,
        endingOf('idle_timeout', now, {
          cause: 'deadline:idle_timeout',
          detail: `no activity for ${session.spec.limits.activityIdleTimeoutMs} ms`,
        }),
      );
    case 'unresponsive':
      return stale(session, now);
    case 'error_limit':
      return infer(session, errorLimit(session, now));
    case 'errors_reset':
      return stay({ ...session, errors: { ...session.errors, consecutive: 0 } });
    case 'held':
      return reconsider(session, now);
    default: {
      const { work } = session.phase;
      return work.kind === 'replacing' ? replaceTick(session, work, { kind: due.kind, now }) : stay(session);
    }
  }
}

function warn(session: Live, now: Stamp): Next {
  const { phase, spec } = session;
  const inMs = Math.max(0, phase.startedAt.bootMs + spec.limits.maxDurationMs - now.bootMs);
  return stay(
    withVitals(session, { warnedMaxDuration: true }),
    tell(workerOf(session), { type: 'notice', reason: 'max_duration', inMs }),
  );
}

/** A silent worker is asked for its stacks before its session ends. */
function stale(session: Live, now: Stamp): Next {
  if (session.vitals.dumpAskedMs !== null) return infer(session, unresponsive(session, now));
  return stay(withVitals(session, { dumpAskedMs: now.bootMs }), tell(workerOf(session), { type: 'dump' }));
}

/** The held ending is forgotten and a new poll is asked for. An ending that still holds asks the budget again. */
function reconsider(session: Live, now: Stamp): Next {
  const open = withPhase(session, { ...session.phase, inference: null });
  return requestPoll(withVitals(open, { pollAskedMs: null }), now.bootMs, now);
}
