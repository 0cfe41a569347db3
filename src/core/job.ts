/** What a LiveKit job means for its session, and what LiveKit is told of it. */
import type { Effect } from './effect.ts';
import type { Stamp } from './ids.ts';
import { countSide } from './presence.ts';
import type { Ending, Session } from './session.ts';
import { outcomeOf } from './session.ts';
import type { Next } from './state.ts';
import { endingOf, stay, withVitals } from './state.ts';

/** LiveKit's word that the call's dispatch was deleted. */
export function jobEnded(now: Stamp): Ending {
  return endingOf('requested', now, {
    cause: 'job_terminated',
    by: { kind: 'supervisor', name: 'livekit' },
    detail: 'LiveKit has ended its job',
  });
}

const WITHDRAWN = {
  late: 'LiveKit was told no, because the decision took too long',
  unsent: 'LiveKit could not be told yes',
} as const;

/** The call is somebody else's by now, or lost. */
export function jobWithdrawn(why: keyof typeof WITHDRAWN, now: Stamp): Ending {
  return endingOf('start_timeout', now, { cause: `job_${why}`, detail: WITHDRAWN[why] });
}

/**
 * LiveKit ends a job also when our agent leaves its room, as a crashed one does: then it says nothing of the call, and the next look
 * tells. After a replacement the job is over for LiveKit in any case.
 */
export function onTerminated(session: Session, now: Stamp): Next {
  const { phase } = session;
  if (phase.name !== 'live' || phase.work.kind === 'replacing' || session.restarts > 0) return stay(session);
  const { bootMs } = now;
  return stay(withVitals(session, { terminatedMs: bootMs, lookAskedMs: bootMs }), [{ do: 'look' }]);
}

/** Whether a look asked for at `asOfMs` shows that the end of the job was meant: our agent is still there. */
export function readTermination(session: Session, asOfMs: number): { session: Session; isOver: boolean } {
  const { terminatedMs } = session.vitals;
  if (terminatedMs == null || asOfMs < terminatedMs) return { session, isOver: false };
  const isOver = countSide(session.presence, session.spec.agentIdentity, 'own_agent') > 0;
  return { session: withVitals(session, { terminatedMs: null }), isOver };
}

/** Nothing where no LiveKit job asked for the session. */
export function reportJob(
  { spec }: Session,
  status: Extract<Effect, { do: 'report_job' }>['status'],
  error: string | null = null,
): Effect[] {
  return spec.job == null ? [] : [{ do: 'report_job', jobId: spec.job.id, status, error }];
}

export function reportEnd(session: Session, { reason, detail }: Ending): Effect[] {
  return outcomeOf(reason) === 'released'
    ? reportJob(session, 'success')
    : reportJob(session, 'failed', detail === null ? reason : `${reason}: ${detail}`);
}
