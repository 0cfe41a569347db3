/** The messages to a worker each time it connects, and a LiveKit agent's answer to its job. */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { accept } from '../model/agent-answer.ts';
import type { SupervisorMessage } from '../model/control-protocol.ts';
import { LATER_TYPES, PROTOCOL_VERSION } from '../model/control-protocol.ts';
import type { Effect } from '../model/effects.ts';
import { declinedEnding } from '../model/endings.ts';
import type { SessionEvent } from '../model/events.ts';
import { admitEffects, refuseEffects } from '../model/livekit-job.ts';
import type { Profile } from '../model/profile.ts';
import type { Session, SessionIn } from '../model/session.ts';
import { workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, stay, tell } from '../model/updates.ts';
import { channelOf, isWarm } from '../model/worker.ts';
import { startTeardown } from '../teardown/start-teardown.ts';

type Welcome = Extract<SupervisorMessage, { type: 'welcome' }>;

export function greet<S extends Session>(session: S, now: Stamp): Next<S> {
  return andThen(stay(session, [...welcome(session), ...assign(session)]), (next) =>
    sendConfigure(next, now),
  );
}

/** A LiveKit agent gets its job after it registers, and a warm worker gets its room. A worker that has its room already says `ready` again. */
function assign(session: Session): Effect[] {
  const worker = workerOf(session);
  const { phase, spec } = session;
  if (worker === null || worker.readyByMs === null) return [];
  if (spec.profile.protocol !== 'livekit' && !isWarm(worker)) return [];
  if (phase.name !== 'starting' && phase.name !== 'live') return [];
  return [{ do: 'assign', workerId: worker.id }];
}

export function welcome(session: Session): Effect[] {
  const worker = workerOf(session);
  if (worker === null) return [];
  const { spec, config } = session;
  const job = {
    session: spec.id,
    room: spec.room.name,
    attempt: worker.attempt,
    metadata: { ...config.metadata },
  };
  return tell(worker, welcomeMessage(spec.profile, job));
}

/** `job` null: a warm worker without a session. */
export function welcomeMessage({ heartbeatStaleMs }: Profile, job: Welcome['job']): Welcome {
  // A late heartbeat must not count as a missing one.
  const heartbeatMs = Math.min(DEADLINES.heartbeatEveryMs, heartbeatStaleMs / 3);
  return {
    type: 'welcome',
    v: PROTOCOL_VERSION,
    heartbeatMs: Math.round(heartbeatMs),
    job,
    accepts: [...LATER_TYPES],
  };
}

/** Sends new metadata, and repeats it until the worker acknowledges it. */
export function sendConfigure<S extends Session>(session: S, now: Stamp): Next<S> {
  const { config } = session;
  const worker = workerOf(session);
  if (config.ackedRev >= config.rev || channelOf(worker) !== 'open') return stay(session);
  const sent = { ...session, config: { ...config, sentMs: now.bootMs } };
  return stay(sent, tell(worker, { type: 'configure', rev: config.rev, metadata: { ...config.metadata } }));
}

/** A LiveKit agent that rejects its job ends the session, because another worker runs the same code. LiveKit may still show the job as curfew's. */
export function onAnswered(
  session: SessionIn<'starting' | 'live'>,
  { answer, isTaken }: Extract<SessionEvent, { type: 'answered' }>,
  now: Stamp,
): Next {
  if (answer.kind === 'rejected')
    return andThen(startTeardown(session, declinedEnding(now), now), (next) =>
      stay(next, refuseEffects(next.spec, session.spec.job?.id ?? null)),
    );
  const { session: next, usable } = accept(session, answer, isTaken);
  return stay(next, admitEffects(session, next, usable));
}
