/** A queued session: it waits for its claim and slots, then for the start rate and for LiveKit's assignment. */
import type { Stamp } from '../ids.ts';
import { firstWorkerId } from '../ids.ts';
import type { SessionEvent } from '../model/events.ts';
import { jobEnded, jobWithdrawn } from '../model/livekit-job.ts';
import type { Ending, PhaseOf, SessionIn, Worker } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { andThen, endingOf, newWorker, stay, withPhase, withVitals } from '../model/updates.ts';
import { startTeardown } from '../teardown/teardown.ts';
import { startDueMs } from './deadlines.ts';
import { endUnrecorded, loseHost } from './ended.ts';
import { releaseEnding } from './endings.ts';
import type { HandlerTable } from './handler-table.ts';
import { ignore } from './handler-table.ts';

type Queued = SessionIn<'queued'>;
type Grant = NonNullable<PhaseOf<'queued'>['grant']>;

export const QUEUED: HandlerTable<'queued'> = {
  granted: (session, event, now) => startIfDue(withGrant(session, grantOf(event)), now),
  assigned: onAssigned,
  job_terminated: (session, _event, now) => startTeardown(session, jobEnded(now), now),
  job_withdrawn: (session, event, now) =>
    refuse(session, jobWithdrawn(event.why, now), { ownJob: null, now }),
  expired: (session, event, now) =>
    refuse(session, endingOf('start_timeout', now, { cause: 'queue_timeout', detail: event.detail }), {
      ownJob: session.spec.job?.id ?? null,
      now,
    }),
  tick: (session, _event, now) => startIfDue(session, now),
  exited: (session) => stay(loseReserved(session)),
  host_lost: (session, _event, now) => loseHost(session, now),
  release: (session, event, now) => startTeardown(session, releaseEnding(event, now), now),
  record_failed: (session, event, now) => endUnrecorded(session, event.detail, now),
  queued: ignore,
  spawned: ignore,
  spawn_failed: ignore,
  not_started: ignore,
  channel: ignore,
  message: ignore,
  tree: ignore,
  room_snapshot: ignore,
  side_room_snapshot: ignore,
  room_event: ignore,
  livekit: ignore,
  claim_wanted: ignore,
  keep_alive: ignore,
  metadata: ignore,
  budget: ignore,
  room_step: ignore,
  gap: ignore,
  resources: ignore,
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
  return grant === null
    ? stay(session)
    : startIfDue(withGrant(session, { ...grant, assignedByMs: null }), now);
}

/** Nobody has dispatched an unasked call, so its phone is curfew's to end. `ownJob`: LiveKit may still take the job for ours. */
function refuse(
  session: Queued,
  ending: Ending,
  { ownJob, now }: { ownJob: string | null; now: Stamp },
): Next {
  const { room, unasked } = session.spec;
  return andThen(startTeardown(session, ending, now), (next) =>
    stay(next, unasked === true ? [{ do: 'refuse_call', room, ownJob }] : []),
  );
}

/** The reserved warm worker died: a cold one is started as for any other session. */
function loseReserved(session: Queued): Queued {
  const { grant } = session.phase;
  if (grant === null) return session;
  return withGrant(session, { ...grant, warm: null, workerId: firstWorkerId(session.spec.id) });
}

function startIfDue(session: Queued, now: Stamp): Next {
  const { spec, phase } = session;
  const { grant } = phase;
  if (grant === null || now.bootMs < startDueMs(grant)) return stay(session);
  const { worker, effects } = firstWorker(session, grant, now);
  const begun = worker.warm === true ? { ...session, warmWorker: worker.id } : session;
  const started = withPhase(begun, { name: 'starting', startedAt: now, worker });
  if (!spec.livekit) return stay(started, effects);
  // The first poll shows whether the room was there before the session.
  return stay(withVitals(started, { pollAskedMs: now.bootMs }), [...effects, { do: 'poll_room' }]);
}

/** A warm worker runs already and only needs its room. */
function firstWorker(
  session: Queued,
  { workerId: id, warm }: Grant,
  now: Stamp,
): { worker: Worker; effects: Next['effects'] } {
  const worker = newWorker(session, { id, attempt: 1, now });
  if (warm == null) return { worker, effects: [{ do: 'spawn', workerId: id, attempt: 1 }] };
  return {
    worker: { ...worker, process: warm, channel: 'open', warm: true },
    effects: [{ do: 'assign', workerId: id }],
  };
}
