/** A starting session: its first worker is on its way to be ready. */
import { BACKOFF } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { workerIdOf } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import { closedEnding, exitEnding, failedEnding, releaseEnding, startExitEnding } from '../model/endings.ts';
import type { SessionEvent } from '../model/events.ts';
import { jobEnded, reportJob } from '../model/livekit-job.ts';
import type { SessionIn } from '../model/session.ts';
import { isIn } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import {
  andThen,
  endingOf,
  enterPhase,
  newWorker,
  noteReplaced,
  stay,
  withPhase,
  withVitals,
} from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { exitOf, hasFailed, isWarm, processOf } from '../model/worker.ts';
import { dialledEnding } from '../teardown/dialled.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import { actOnDue, actOnSnapshot } from './deadlines.ts';
import { endUnrecorded, loseHost } from './ended.ts';
import type { HandlerTable } from './handler-table.ts';
import { factsOnly } from './handler-table.ts';
import { greet, onAnswered, sendConfigure } from './handshake.ts';
import { agentSessionFailure, crashByException } from './replacing.ts';

type Starting = SessionIn<'starting'>;

export const STARTING: HandlerTable<'starting'> = {
  job_terminated: (session, _event, now) => startTeardown(session, jobEnded(now), now),
  tick: (session, _event, now) => actOnDue(session, now),
  // A level-0 worker is ready when its process runs.
  spawned: (session, _event, now) =>
    session.spec.profile.protocol === 'none' ? goLive(session, now) : stay(session),
  spawn_failed: onSpawnFailed,
  not_started: startUnderNextId,
  assign_failed: (session, event, now) =>
    event.workerId === session.phase.worker.id && !hasFailed(session.phase.worker)
      ? onFailed(session, event.detail, now)
      : stay(session),
  channel: (session, event, now) => (event.open ? greet(session, now) : stay(session)),
  message: onMessage,
  answered: (session, event, now) => onAnswered(session, event, now),
  exited: onExited,
  host_lost: (session, _event, now) => loseHost(session, now),
  tree: onTree,
  room_snapshot: (session, event, now) =>
    actOnSnapshot(session, event.observation.asOf.bootMs, now) ?? stay(session),
  release: (session, event, now) => startTeardown(session, releaseEnding(event, now), now),
  metadata: (session, _event, now) => sendConfigure(session, now),
  gap: repeatKill,
  record_failed: onRecordFailed,
  queued: factsOnly,
  warm_taken: factsOnly,
  granted: factsOnly,
  assigned: factsOnly,
  job_withdrawn: factsOnly,
  attached: factsOnly,
  expired: factsOnly,
  side_room_snapshot: factsOnly,
  room_webhook: factsOnly,
  livekit: factsOnly,
  claim_wanted: factsOnly,
  keep_alive: factsOnly,
  budget: factsOnly,
  room_step: factsOnly,
  resources: factsOnly,
};

/** A start that cannot be recorded says nothing of the call. It comes again until the start timeout. */
function onSpawnFailed(
  session: Starting,
  { detail, isUnrecorded }: Extract<SessionEvent, { type: 'spawn_failed' }>,
  now: Stamp,
): Next {
  if (isUnrecorded !== true)
    return startTeardown(session, endingOf('crashed', now, { cause: 'spawn_failed', detail }), now);
  const unrecorded = { againAtMs: now.bootMs + BACKOFF.unrecordedMs, detail };
  return stay(withPhase(session, { ...session.phase, unrecorded }));
}

function onMessage(
  session: Starting,
  { message }: Extract<SessionEvent, { type: 'message' }>,
  now: Stamp,
): Next {
  const { errors, spec, phase } = session;
  if (hasFailed(phase.worker)) return stay(session);
  switch (message.type) {
    case 'ready':
      return goLive(session, now);
    case 'failed':
      return message.raised
        ? whileLive(session, now, (live) => crashByException(live, message, now))
        : onFailed(session, message.message, now);
    case 'agent_session':
      // Race: the supervisor died before it heard `ready`. The AgentSession of a job that runs is judged as in a live call.
      return agentSessionFailure(session) === null ? stay(session) : goLive(session, now);
    case 'closed':
      return startTeardown(session, closedEnding(message, now), now);
    case 'error':
      if (errors.consecutive < spec.limits.errorLimit) return stay(session);
      return startTeardown(
        session,
        endingOf('error_limit', now, { cause: 'error', detail: errors.last }),
        now,
      );
    case 'heartbeat':
    case 'activity':
    case 'ok':
    case 'configured':
    case 'dumped':
    case 'loop_blocked':
    case 'dialled':
      return stay(session);
  }
}

/** Only the first record can fail so, and it comes before the spawn. A warm worker runs already and stays with the pool. */
function onRecordFailed(session: Starting, { detail }: { detail: string }, now: Stamp): Next {
  const { worker } = session.phase;
  return processOf(worker) !== null && !isWarm(worker) ? stay(session) : endUnrecorded(session, detail, now);
}

/** The failure of a warm worker says nothing of the call. The next worker takes the call when the tree is gone. */
function onFailed(session: Starting, detail: string, now: Stamp): Next {
  const { worker } = session.phase;
  if (worker.stage === 'launching' || worker.warm === null)
    return startTeardown(session, failedEnding(detail, now), now);
  return stay(withOwnWorker(session, { ...worker, warm: 'failed' }), kill(worker));
}

/** The exit of a warm worker says nothing of the call either. An exit before `ready` keeps its own reason, also after the maximum duration. */
function onExited(session: Starting, _event: object, now: Stamp): Next {
  const { worker } = session.phase;
  const exit = exitOf(worker);
  return exit === null || isWarm(worker)
    ? stay(session)
    : startTeardown(session, startExitEnding(session, exit), now);
}

/** The next worker takes the call when the whole tree of a warm one is gone. */
function onTree(session: Starting, { left }: { left: number }, now: Stamp): Next {
  const { worker } = session.phase;
  const exit = exitOf(worker);
  if (!isWarm(worker) || exit === null) return stay(session);
  if (left > 0) return stay(session, kill(worker));
  const why = hasFailed(worker) ? failedEnding(null, now) : exitEnding(exit, Number.POSITIVE_INFINITY);
  const dialled = dialledEnding(session, why);
  return dialled === null
    ? startNext(noteReplaced(session, worker.id, why), now)
    : startTeardown(session, dialled, now);
}

/** A supervisor that was away may not have sent SIGKILL. */
function repeatKill(session: Starting): Next {
  const { worker } = session.phase;
  return stay(session, hasFailed(worker) ? kill(worker) : []);
}

function kill({ id }: Worker): Effect[] {
  return [{ do: 'signal', workerId: id, signal: 'SIGKILL' }];
}

function goLive(session: Starting, now: Stamp): Next {
  const { worker } = session.phase;
  const { idleAtMs: allowedMs } = session.vitals;
  const idleAtMs = session.spec.idleAsked
    ? Math.max(allowedMs ?? 0, now.bootMs + session.spec.limits.activityIdleTimeoutMs)
    : allowedMs;
  const live = enterPhase<'live'>(
    session,
    {
      name: 'live',
      work: { kind: 'running', worker: { ...worker, readyByMs: null } },
      inference: null,
    },
    { startedAt: session.startedAt, liveAt: now, endedAt: null },
  );
  return andThen(stay(withVitals(live, { idleAtMs }), reportJob(session, 'running')), (next) =>
    actOnDue(next, now),
  );
}

/** Race: the supervisor died before it heard `ready`. A job that fails runs, so it is replaced as in a live call. */
function whileLive(session: Starting, now: Stamp, fail: (live: SessionIn<'live'>) => Next): Next {
  return andThen(goLive(session, now), (next) => (isIn(next, 'live') ? fail(next) : stay(next)));
}

/** Under another id: a late shim of the old worker finds its claim taken. Nothing ran, so nothing was restarted. */
function startUnderNextId(session: Starting, _event: object, now: Stamp): Next {
  return processOf(session.phase.worker) === null ? startNext(session, now) : stay(session);
}

function startNext(session: Starting, now: Stamp): Next {
  const attempt = session.phase.worker.attempt + 1;
  const worker = newWorker(session, { id: workerIdOf(session.spec.id, attempt), attempt, now });
  return stay(withPhase(session, { name: 'starting', worker }), [
    { do: 'spawn', workerId: worker.id, attempt },
  ]);
}

function withOwnWorker(session: Starting, worker: Worker): Starting {
  return withPhase(session, { ...session.phase, worker });
}
