/** A queued session: it waits for its claim and slots, then for the start rate and for LiveKit's assignment. */
import type { Stamp } from '../ids.ts';
import { firstWorkerId } from '../ids.ts';
import { accept } from '../model/agent-answer.ts';
import { declinedEnding, releaseEnding } from '../model/endings.ts';
import type { SessionEvent } from '../model/events.ts';
import { jobEnded, jobWithdrawn, refuseEffects } from '../model/livekit-job.ts';
import type { Ending, PhaseOf, SessionIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, stay, withPhase } from '../model/updates.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import { actOnDue } from './deadlines.ts';
import { endUnrecorded, loseHost } from './ended.ts';
import type { HandlerTable } from './handler-table.ts';
import { factsOnly } from './handler-table.ts';

type Queued = SessionIn<'queued'>;
type Grant = NonNullable<PhaseOf<'queued'>['grant']>;

export const QUEUED: HandlerTable<'queued'> = {
  granted: (session, event, now) => actOnDue(withGrant(session, grantOf(event)), now),
  assigned: onAssigned,
  job_terminated: (session, _event, now) => startTeardown(session, jobEnded(now), now),
  job_withdrawn: (session, event, now) =>
    refuse(session, jobWithdrawn(event.why, now), { ownJob: null, now }),
  answered: onAnswered,
  expired: (session, event, now) =>
    refuse(session, endingOf('start_timeout', now, { cause: 'queue_timeout', detail: event.detail }), {
      ownJob: session.spec.job?.id ?? null,
      now,
    }),
  tick: (session, _event, now) => actOnDue(session, now),
  exited: (session) => stay(loseReserved(session)),
  host_lost: (session, _event, now) => loseHost(session, now),
  release: (session, event, now) => startTeardown(session, releaseEnding(event, now), now),
  record_failed: (session, event, now) => endUnrecorded(session, event.detail, now),
  queued: factsOnly,
  warm_taken: factsOnly,
  spawned: factsOnly,
  spawn_failed: factsOnly,
  not_started: factsOnly,
  assign_failed: factsOnly,
  channel: factsOnly,
  attached: factsOnly,
  message: factsOnly,
  tree: factsOnly,
  room_snapshot: factsOnly,
  side_room_snapshot: factsOnly,
  room_webhook: factsOnly,
  livekit: factsOnly,
  claim_wanted: factsOnly,
  keep_alive: factsOnly,
  metadata: factsOnly,
  budget: factsOnly,
  room_step: factsOnly,
  gap: factsOnly,
  resources: factsOnly,
};

function withGrant(session: Queued, grant: Grant): Queued {
  return withPhase(session, { ...session.phase, grant });
}

function grantOf(event: Extract<SessionEvent, { type: 'granted' }>): Grant {
  const { startAtMs, assignedByMs = null, workerId, warm = null } = event;
  return { startAtMs, assignedByMs, workerId, warm };
}

function onAssigned(session: Queued, _event: object, now: Stamp): Next {
  const { grant } = session.phase;
  return grant === null ? stay(session) : actOnDue(withGrant(session, { ...grant, assignedByMs: null }), now);
}

/** The reserved warm worker was asked before LiveKit hears an answer. It is given its room when the session starts. */
function onAnswered(
  session: Queued,
  { answer, isTaken }: Extract<SessionEvent, { type: 'answered' }>,
  now: Stamp,
): Next {
  if (answer.kind === 'accepted') return stay(accept(session, answer, isTaken).session);
  return refuse(session, declinedEnding(now), { ownJob: session.spec.job?.id ?? null, now });
}

function refuse(
  session: Queued,
  ending: Ending,
  { ownJob, now }: { ownJob: string | null; now: Stamp },
): Next {
  return andThen(startTeardown(session, ending, now), (next) => stay(next, refuseEffects(next.spec, ownJob)));
}

/** The reserved warm worker died: a cold one is started as for any other session. */
function loseReserved(session: Queued): Queued {
  const { grant } = session.phase;
  if (grant === null) return session;
  return withGrant(session, { ...grant, warm: null, workerId: firstWorkerId(session.spec.id) });
}
