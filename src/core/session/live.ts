/** A live session: what ends it, and what replaces its worker. */
import { WORKERS } from '../../lib/limits/worker-limits.ts';
import type { Stamp } from '../ids.ts';
import { mebibytes, memoryText } from '../memory-sample.ts';
import {
  closedEnding,
  endingByExit,
  errorLimit,
  failedEnding,
  releaseEnding,
  unresponsive,
} from '../model/endings.ts';
import type { SessionEvent } from '../model/events.ts';
import { jobEnded } from '../model/livekit-job.ts';
import type { SessionIn } from '../model/session.ts';
import { maxDurationAtMs, workerOf } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { endingOf, stay, tell, withPhase } from '../model/updates.ts';
import { exitOf } from '../model/worker.ts';
import { startTeardown } from '../teardown/start-teardown.ts';
import { actOnDue, actOnSnapshot } from './deadlines.ts';
import { loseHost } from './ended.ts';
import type { HandlerTable } from './handler-table.ts';
import { factsOnly } from './handler-table.ts';
import { greet, onAnswered, sendConfigure } from './handshake.ts';
import { end, infer, onBudget } from './inference.ts';
import {
  agentSessionFailure,
  crash,
  crashByException,
  failAgentSession,
  repeatReplaceStep,
  replaceLateSpawn,
  replaceOnExit,
  replaceOnSnapshot,
  replaceTree,
  replaceUnrecorded,
} from './replacing.ts';
import { takeWarm } from './start.ts';

type Live = SessionIn<'live'>;

export const LIVE: HandlerTable<'live'> = {
  job_terminated: (session, _event, now) => startTeardown(session, jobEnded(now), now),
  tick: (session, _event, now) => actOnDue(session, now),
  spawned: onSpawned,
  spawn_failed: onSpawnFailed,
  assign_failed: (session, { workerId, detail }, now) =>
    workerOf(session)?.id === workerId ? crash(session, failedEnding(detail, now), now) : stay(session),
  channel: (session, event, now) => (event.open ? greet(session, now) : stay(session)),
  message: onMessage,
  answered: (session, event, now) => (awaitsReady(session) ? onAnswered(session, event, now) : stay(session)),
  exited: onExited,
  host_lost: (session, _event, now) => loseHost(session, now),
  tree: (session, event, now) => {
    const { work } = session.phase;
    return work.kind === 'replacing' ? replaceTree(session, work, { left: event.left, now }) : stay(session);
  },
  room_snapshot: onSnapshot,
  release: (session, event, now) => startTeardown(session, releaseEnding(event, now), now),
  metadata: (session, _event, now) => sendConfigure(session, now),
  budget: (session, event, now) => onBudget(session, event.granted, now),
  gap: (session, _event, now) => {
    const { work } = session.phase;
    return work.kind === 'replacing' ? repeatReplaceStep(session, work, now) : stay(session);
  },
  resources: onResources,
  warm_taken: (session, event, now) => takeWarm(session, event.warm, now),
  queued: factsOnly,
  record_failed: factsOnly,
  granted: factsOnly,
  assigned: factsOnly,
  job_withdrawn: factsOnly,
  attached: factsOnly,
  expired: factsOnly,
  not_started: factsOnly,
  side_room_snapshot: factsOnly,
  room_webhook: factsOnly,
  livekit: factsOnly,
  claim_wanted: factsOnly,
  keep_alive: factsOnly,
  room_step: factsOnly,
};

/** A level-0 worker is ready when its process runs. */
function onSpawned(session: Live, _event: object, now: Stamp): Next {
  const { work } = session.phase;
  if (work.kind === 'replacing') return replaceLateSpawn(session, work, now);
  return stay(session.spec.profile.protocol === 'none' ? readyNow(session) : session);
}

function onSpawnFailed(
  session: Live,
  { detail, isUnrecorded }: Extract<SessionEvent, { type: 'spawn_failed' }>,
  now: Stamp,
): Next {
  const { work } = session.phase;
  if (work.kind === 'replacing') return replaceTree(session, work, { left: 0, now });
  return isUnrecorded === true
    ? replaceUnrecorded(session, work.worker, now)
    : crash(session, endingOf('crashed', now, { cause: 'spawn_failed', detail }), now);
}

function readyNow(session: Live): Live {
  const { phase } = session;
  if (phase.work.kind !== 'running') return session;
  const worker = { ...phase.work.worker, readyByMs: null };
  return withPhase(session, { ...phase, work: { ...phase.work, worker } });
}

/** A replacement is asked as the first worker was. */
function awaitsReady({ phase: { work } }: Live): boolean {
  return work.kind === 'running' && work.worker.readyByMs !== null;
}

/** Messages of an old worker during its replacement end nothing. */
function onMessage(session: Live, { message }: Extract<SessionEvent, { type: 'message' }>, now: Stamp): Next {
  if (session.phase.work.kind === 'replacing') return stay(session);
  const failure = agentSessionFailure(session);
  switch (message.type) {
    case 'ready':
      return stay(readyNow(session));
    // The job of a failed AgentSession ends because of that failure.
    case 'closed':
      return failure === null
        ? startTeardown(session, closedEnding(message, now), now)
        : failAgentSession(session, failure, now);
    case 'failed':
      if (failure !== null) return failAgentSession(session, failure, now);
      return message.raised
        ? crashByException(session, message, now)
        : crash(session, failedEnding(message.message, now), now);
    case 'error':
      return session.errors.consecutive >= session.spec.limits.errorLimit
        ? infer(session, errorLimit(session, now))
        : stay(session);
    case 'dumped':
      return session.vitals.dumpAskedMs === null ? stay(session) : infer(session, unresponsive(session, now));
    case 'heartbeat':
    case 'activity':
    case 'ok':
    case 'configured':
    case 'agent_session':
    case 'loop_blocked':
    case 'dialled':
      return stay(session);
  }
}

function onExited(session: Live, _event: object, now: Stamp): Next {
  const { work } = session.phase;
  if (work.kind === 'replacing') return replaceOnExit(session, work, now);
  const exit = exitOf(work.worker);
  if (exit === null) return stay(session);
  const ending = endingByExit(session.spec, exit, maxDurationAtMs(session));
  return ending.reason === 'completed' || ending.reason === 'max_duration'
    ? startTeardown(session, ending, now)
    : crash(session, ending, now);
}

function onSnapshot(
  session: Live,
  { observation }: Extract<SessionEvent, { type: 'room_snapshot' }>,
  now: Stamp,
): Next {
  const { work } = session.phase;
  const decided = actOnSnapshot(session, observation.asOf.bootMs, now);
  if (decided !== null) return decided;
  return work.kind === 'replacing' ? replaceOnSnapshot(session, work, now) : stay(session);
}

function onResources(
  session: Live,
  { memory }: Extract<SessionEvent, { type: 'resources' }>,
  now: Stamp,
): Next {
  const { overMemorySinceMs } = session.vitals;
  if (overMemorySinceMs === null) return stay(session);
  // A single sample over the limit only warns. The next sample decides.
  if (overMemorySinceMs === now.bootMs)
    return stay(
      session,
      tell(workerOf(session), { type: 'notice', reason: 'memory_limit', inMs: WORKERS.sampleMs }),
    );
  const { memoryBytes } = session.spec.profile;
  const detail = `${memoryText(memory)}; the limit is ${mebibytes(memoryBytes ?? 0)}`;
  return end(session, endingOf('memory_limit', now, { cause: 'sample:memory', detail }), now);
}
