/** A LiveKit agent that has left its room while its job still runs: its shutdown callbacks follow after that. */

import type { Stamp } from '../ids.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { isIn, workerOf } from '../model/session.ts';
import { countSide } from '../rooms/presence.ts';
import { withLadder } from './step-records.ts';
import { STEPS } from './steps.ts';

/** The agent is out of the room, and its callbacks still run. The room needs no longer wait, and only the host slot is in use. */
export function isFinishing(session: Session): session is SessionIn<'closing'> {
  return isIn(session, 'closing') && isJobEnding(session) && isAgentOut(session);
}

/** The job was asked to end, and only the main process has had SIGTERM, if any. The framework then waits for the job, too. */
function isJobEnding({ phase: { ladder } }: SessionIn<'closing'>): boolean {
  const { step } = ladder.process;
  if (step === 'aclose') return true;
  return step === 'term' && ladder.records.some((one) => one.step === 'aclose' && one.outcome === 'timeout');
}

function isAgentOut(session: Session): boolean {
  return hasJoined(session) && countSide(session.presence, session.spec.agentIdentity, 'own_agent') === 0;
}

/**
 * Whether the agent of the present worker was in the room. A worker that replaced another one counts as not joined.
 * Because: the agent that was seen can be the one of the worker before, and the replacement may join at any time.
 */
export function hasJoined(session: Session): boolean {
  const { spec, presence } = session;
  return spec.profile.protocol === 'livekit' && presence.agentSeen && workerOf(session)?.attempt === 1;
}

/** Whether the next session of the room may hold the claim beside this one. */
export function hasPassedClaim({ phase }: Session): boolean {
  if (phase.name === 'closing') return phase.ladder.claimPassed === true;
  return phase.name === 'ended' && phase.claimPassed === true;
}

/**
 * A session whose agent is out of the room gives its claim up, never takes it back, and keeps its slot on the host.
 * Because: a caller that returns must not wait for the callbacks of the agent before.
 */
export function passClaim(session: SessionIn<'closing'>, now: Stamp): SessionIn<'closing'> {
  const { ladder } = session.phase;
  if (ladder.claimPassed === true || ladder.room.step === 'waiting') return session;
  const removal = ladder.records.findLast(({ step }) => step === 'remove_agent');
  if (removal?.outcome === 'done')
    return isFinishing(session) ? withLadder(session, { claimPassed: true }) : session;
  // LiveKit did not remove the agent, so a session that waits for the claim cuts the wrap-up.
  const isStuck = removal?.outcome != null && ladder.successor;
  return isStuck ? cutWrapUp(session, now) : session;
}

/**
 * The callbacks of an agent that is out of its room have the time of a wrap-up, whatever ended the call.
 * Because: LiveKit lets them go on, too, and no caller waits for them.
 */
export function wrapUpOutside(session: SessionIn<'closing'>): SessionIn<'closing'> {
  const { ladder, ending } = session.phase;
  if (ladder.wrapUp || ladder.successor || ending.reason === 'shutdown' || !isFinishing(session))
    return session;
  const asked = ladder.records.findLast(({ step }) => step === 'aclose');
  if (asked === undefined) return session;
  const endsAtMs = asked.startedAt.bootMs + session.spec.profile.ladder.wrapUpMs;
  const { process } = ladder;
  return withLadder(session, {
    wrapUp: true,
    process: { ...process, deadlineMs: Math.max(process.deadlineMs, endsAtMs) },
  });
}

/** Ends a wrap-up within the ordinary bound of the step under way. */
export function cutWrapUp(session: SessionIn<'closing'>, now: Stamp): SessionIn<'closing'> {
  const { process } = session.phase.ladder;
  if (process.step !== 'aclose' && process.step !== 'term') return session;
  const boundMs = STEPS[process.step].boundMs(session.spec.profile.ladder);
  return now.bootMs + boundMs < process.deadlineMs
    ? withLadder(session, { process: { ...process, deadlineMs: now.bootMs + boundMs } })
    : session;
}
