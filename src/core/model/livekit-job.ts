/** The meaning of a LiveKit job for its session, and the reports to LiveKit. */

import type { Stamp } from '../ids.ts';
import type { Effect } from './effects.ts';
import type { Ending, Session } from './session.ts';
import { outcomeOf } from './session.ts';
import { endingOf } from './updates.ts';

/** LiveKit reports that the call's dispatch was deleted. */
export function jobEnded(now: Stamp): Ending {
  return endingOf('requested', now, {
    cause: 'job_terminated',
    by: { kind: 'supervisor', name: 'livekit' },
    detail: 'its dispatch was deleted',
  });
}

const WITHDRAWN = {
  late: 'curfew refused the job, because the decision took too long',
  unsent: 'the acceptance of the job could not be sent to LiveKit',
} as const;

/** Another agent has the call by now, or the call is lost. */
export function jobWithdrawn(why: keyof typeof WITHDRAWN, now: Stamp): Ending {
  return endingOf('start_timeout', now, { cause: `job_${why}`, detail: WITHDRAWN[why] });
}

/** No effect if no LiveKit job asked for the session. LiveKit's job of a caller that returned has ended with the earlier session. */
export function reportJob(
  { spec }: Session,
  status: Extract<Effect, { do: 'report_job' }>['status'],
  error: string | null = null,
): Effect[] {
  return spec.job == null || spec.rejoin !== undefined
    ? []
    : [{ do: 'report_job', jobId: spec.job.id, status, error }];
}

export function reportEnd(session: Session, { reason, detail }: Ending): Effect[] {
  return outcomeOf(reason) === 'released'
    ? reportJob(session, 'success')
    : reportJob(session, 'failed', detail === null ? reason : `${reason}: ${detail}`);
}
