/** The meaning of a LiveKit job for its session, and the reports to LiveKit. */

import type { Stamp } from '../ids.ts';
import type { Usable } from './agent-answer.ts';
import { holderOf } from './agent-answer.ts';
import type { Effect } from './effects.ts';
import type { Ending, Session, SessionSpec } from './session.ts';
import { outcomeOf, workerOf } from './session.ts';
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

/** No client dispatched the call, so curfew must disconnect its phone. `ownJob`: LiveKit may still show the job as curfew's. */
export function refuseEffects({ room, unasked }: SessionSpec, ownJob: string | null): Effect[] {
  return unasked === true ? [{ do: 'refuse_call', room, ownJob }] : [];
}

/** The room for an agent that accepted its job. An earlier worker of the session may still be in the room under another identity. */
export function admitEffects(before: Session, after: Session, usable: Usable): Effect[] {
  const worker = workerOf(after);
  if (worker === null) return [];
  const { room, agentIdentity: identity, profile } = before.spec;
  const isOld =
    worker.attempt > 1 && identity !== after.spec.agentIdentity && holderOf(identity, before) === 'agent';
  const { removeAgentMs: boundMs } = profile.ladder;
  return [
    ...(isOld ? [{ do: 'remove_agent', room, identity, boundMs } as const] : []),
    { do: 'admit', workerId: worker.id, ...usable },
  ];
}
