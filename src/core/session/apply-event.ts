/** Takes an event's facts into the state. The handler of the phase decides afterwards what follows. */
import { TEXT } from '../../lib/limits/api-limits.ts';
import { keepAlive, noteActivity, noteAgentSessions } from '../activity/activity.ts';
import type { Stamp } from '../ids.ts';
import type { WorkerMessage } from '../model/control-protocol.ts';
import type { SessionEvent } from '../model/events.ts';
import type { Session } from '../model/session.ts';
import { isIn, isReplacing, workerOf } from '../model/session.ts';
import { presenceContext, withoutTokens, withVitals, withWorker } from '../model/updates.ts';
import { channelOf, withChannel, withExit, withProcess, withTreeGone } from '../model/worker.ts';
import type { RoomSnapshot } from '../rooms/presence.ts';
import { applySnapshot, applyWebhook, reachableAgain, restartAbsence } from '../rooms/presence-reducer.ts';
import { applySideSnapshot } from '../rooms/side-room.ts';
import { restartStepBounds } from '../teardown/restart-bounds.ts';
import { withLadder } from '../teardown/step-records.ts';

export function applyEvent(session: Session, event: SessionEvent, now: Stamp): Session {
  switch (event.type) {
    case 'spawned':
      return withWorker(session, event.workerId, (worker) => withProcess(worker, event.process));
    case 'spawn_failed':
      return withWorker(session, event.workerId, withTreeGone);
    case 'channel':
      return channel(session, event, now);
    case 'attached':
      return isCurrent(session, event.workerId) ? withVitals(session, { attachedBy: event.by }) : session;
    case 'message':
      return isCurrent(session, event.workerId) ? message(session, event.message, now) : session;
    case 'exited':
      return withWorker(session, event.workerId, (worker) => withExit(worker, event.exit));
    case 'tree':
      return event.left > 0 ? session : withWorker(session, event.workerId, withTreeGone);
    case 'room_snapshot':
      return {
        ...session,
        presence: applySnapshot(
          session.presence,
          ofOwnRoom(session, event.observation),
          presenceContext(session),
          now,
        ),
      };
    case 'side_room_snapshot':
      return { ...session, presence: applySideSnapshot(session.presence, event.callers, now) };
    case 'room_webhook':
      return {
        ...session,
        presence: applyWebhook(session.presence, event.event, presenceContext(session)),
      };
    case 'livekit':
      return livekit(session, event.reachable, now);
    case 'keep_alive':
      return keepAlive(session, now, event.forMs);
    case 'metadata':
      return {
        ...session,
        config: { ...session.config, metadata: event.metadata, rev: session.config.rev + 1, sentMs: null },
      };
    case 'gap':
      return gap(session, now);
    case 'resources':
      if (!isCurrent(session, event.workerId)) return session;
      return resources(session, event, now);
    case 'claim_wanted':
      return isIn(session, 'closing') ? withLadder(session, { successor: true }) : session;
    case 'adopted':
    case 'host_lost':
    case 'not_started':
    case 'assign_failed':
    case 'warm_taken':
    case 'queued':
    case 'record_failed':
    case 'granted':
    case 'assigned':
    case 'job_terminated':
    case 'job_withdrawn':
    case 'answered':
    case 'expired':
    case 'tick':
    case 'release':
    case 'budget':
    case 'room_step':
      return session;
  }
}

/**
 * The room of a session that is over stays the same. Because: a new room of that name, and the callers in it, wait for the next session.
 * Its own agent counts in the new room, too, because it must be removed there.
 */
function ofOwnRoom(session: Session, seen: RoomSnapshot): RoomSnapshot {
  const { presence, spec, phase } = session;
  const isOver = phase.name === 'closing' || phase.name === 'ended';
  const isOther = presence.roomSid !== null && seen.roomSid !== null && seen.roomSid !== presence.roomSid;
  if (!isOver || !isOther) return seen;
  const participants = seen.participants.filter(({ identity }) => identity === spec.agentIdentity);
  return { ...seen, roomSid: null, roomCreatedWallMs: null, participants };
}

function isCurrent(session: Session, id: string): boolean {
  return workerOf(session)?.id === id;
}

function channel(session: Session, event: Extract<SessionEvent, { type: 'channel' }>, now: Stamp): Session {
  if (!isCurrent(session, event.workerId)) return session;
  const known = channelOf(workerOf(session));
  const channel = event.open ? 'open' : known === 'none' ? 'none' : 'lost';
  const next =
    channel === known
      ? session
      : withWorker(session, event.workerId, (worker) => withChannel(worker, channel));
  if (event.open) return withVitals(next, { heartbeatMs: now.bootMs, dumpAskedMs: null });
  // A mute worker cannot send heartbeats, so its silence means nothing until it connects.
  return event.mute === true
    ? withVitals(next, { heartbeatMs: null, dumpAskedMs: null, idleAtMs: null })
    : next;
}

function message(session: Session, said: WorkerMessage, now: Stamp): Session {
  if (said.type === 'dialled') return session.dialled === true ? session : { ...session, dialled: true };
  // `dumped` and `loop_blocked` do not come from the worker's main loop, so they prove nothing about the loop.
  if (said.type === 'dumped') return session;
  if (said.type === 'loop_blocked') return withVitals(session, { loopBlockedMs: now.bootMs });
  // Because: a kit reports a running tool from its own thread, also while the tool blocks the loop.
  if (said.type === 'activity' && said.kind === 'task') return noteActivity(session, said, now);
  const alive = withVitals(session, {
    heartbeatMs: now.bootMs,
    dumpAskedMs: null,
    loopBlockedMs: said.type === 'heartbeat' ? undefined : session.vitals.loopBlockedMs,
  });
  switch (said.type) {
    case 'activity':
      return noteActivity(alive, said, now);
    // The replacement was counted as an error already. Further messages of the old worker follow from it.
    case 'ok':
      return alive.errors.consecutive === 0 || isReplacing(session)
        ? alive
        : { ...alive, errors: { ...alive.errors, consecutive: 0 } };
    case 'error':
      return isReplacing(session)
        ? alive
        : countError(alive, `${said.source ?? 'worker'}: ${said.message}`, now);
    case 'configured':
      return {
        ...alive,
        config: {
          ...alive.config,
          ackedRev: Math.max(alive.config.ackedRev, Math.min(said.rev, alive.config.rev)),
        },
      };
    case 'agent_session':
      return noteAgentSessions(alive, said, now);
    case 'ready':
    case 'heartbeat':
    case 'failed':
    case 'closed':
      return alive;
  }
}

/** Counts one more error in a row: a report of the worker, a crash or a missed start. */
export function countError<S extends Session>(session: S, text: string, now: Stamp): S {
  const { consecutive, total } = session.errors;
  const last = withoutTokens(text).slice(0, TEXT.detailChars);
  return { ...session, errors: { consecutive: consecutive + 1, total: total + 1, lastAt: now, last } };
}

function resources(
  session: Session,
  { memory, cpuPercent }: Extract<SessionEvent, { type: 'resources' }>,
  now: Stamp,
): Session {
  const { memoryBytes } = session.spec.profile;
  const over = memoryBytes !== null && memory.bytes > memoryBytes;
  const overMemorySinceMs = over ? (session.vitals.overMemorySinceMs ?? now.bootMs) : null;
  return withVitals(session, { resources: { memory, cpuPercent }, overMemorySinceMs });
}

function livekit(session: Session, reachable: boolean, now: Stamp): Session {
  if (session.presence.reachable === reachable) return session;
  if (!reachable) return { ...session, presence: { ...session.presence, reachable: false } };
  const next = { ...session, presence: reachableAgain(session.presence, presenceContext(session), now) };
  return withVitals(next, { pollAskedMs: null });
}

/** No event could arrive during the gap. So silence, absence, start timeout and step bounds restart; the maximum duration does not. */
function gap(session: Session, now: Stamp): Session {
  const { vitals, spec, presence } = session;
  const counted = withVitals(
    { ...session, presence: restartAbsence(presence, now, now.bootMs + spec.limits.noCallerMs) },
    {
      heartbeatMs: vitals.heartbeatMs === null ? null : now.bootMs,
      dumpAskedMs: null,
      idleAtMs:
        vitals.idleAtMs === null
          ? null
          : Math.max(vitals.idleAtMs, now.bootMs + spec.limits.activityIdleTimeoutMs),
      toolsSinceMs: vitals.toolsSinceMs === undefined ? undefined : now.bootMs,
      pollAskedMs: null,
    },
  );
  const worker = workerOf(counted);
  const readyByMs = now.bootMs + spec.limits.startTimeoutMs;
  const restarted =
    worker?.readyByMs == null ? counted : withWorker(counted, worker.id, (one) => ({ ...one, readyByMs }));
  return isIn(restarted, 'closing') ? restartStepBounds(restarted, now) : restarted;
}
