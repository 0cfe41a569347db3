/** Performs the effects that the core decided. Each outcome comes back as an event. No effect throws, and no mailbox waits for one. */

import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf } from '../../core/admission/allocation.ts';
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { Session } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { TEXT } from '../../lib/limits/api-limits.ts';
import type { RoomStepResult } from '../../ports/rooms.ts';
import type { Workers } from '../../ports/workers.ts';
import type { AdmissionGate } from '../dispatch/admission-gate.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import { makeAgentJob } from '../workers/agent-job-message.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import { replaceByWarm } from '../workers/warm-handoff.ts';
import type { WarmPool } from '../workers/warm-pool.ts';
import type { Forks } from '../workers/worker-env.ts';
import { jobOf, launch, launchFailure } from '../workers/worker-env.ts';
import type { SessionHost } from './session-host.ts';
import type { WorkerIndex } from './worker-index.ts';

export interface EffectParts {
  readonly deps: SupervisorDeps;
  readonly sessions: Pick<SessionHost, 'all' | 'state' | 'post' | 'idle'>;
  readonly workers: Workers;
  readonly channels: ChannelRouter;
  readonly zygotes: Forks;
  readonly pool: WarmPool;
  readonly workerIndex: WorkerIndex;
  readonly admission: AdmissionGate;
  readonly roomTokens: RoomTokens;
  /** null: no LiveKit. */
  readonly roomRouter: RoomRouter | null;
}

export class EffectRunner {
  readonly #parts: EffectParts;

  constructor(parts: EffectParts) {
    this.#parts = parts;
  }

  /** Starts the effect and returns at once. Its outcome comes back as an event. */
  run(session: Session, effect: Effect): void {
    const parts = this.#parts;
    const { id, room } = session.spec;
    const { deps, sessions, workers, channels, admission, roomRouter } = parts;
    switch (effect.do) {
      case 'spawn':
        void spawn(parts, session, effect);
        return;
      case 'tell':
        channels.send(effect.workerId, effect.message);
        return;
      case 'assign':
        void assign(parts, session, effect.workerId);
        return;
      case 'admit':
        void admit(parts, session, effect);
        return;
      case 'signal':
        workers.signal(effect.workerId, effect.signal, effect.to);
        return;
      case 'reap':
        workers.reap(effect.workerId);
        return;
      case 'poll_room':
        deps.rooms?.poll(room);
        return;
      case 'remove_agent':
      case 'close_room':
        void roomStep(parts, id, effect);
        return;
      case 'ask_budget':
        sessions.post(id, {
          type: 'budget',
          granted: admission.askBudget(id, { again: effect.again, holders: liveAllocations(sessions) }),
        });
        return;
      case 'report_job':
        deps.jobs?.report(effect.jobId, effect.status, effect.error);
        return;
      case 'refuse_call':
        if (session.spec.profile.onRefused === 'close')
          roomRouter?.refused(effect.room, {
            at: deps.clock.now(),
            by: id,
            ownJob: effect.ownJob,
            ignore: session.spec.profile.ignore,
          });
        return;
      case 'watch_room':
        roomRouter?.watches.watch(effect.watch);
        return;
      case 'unwatch_room':
        roomRouter?.watches.unwatch(effect.room, effect.session);
        return;
    }
  }
}

/** Computed for each request of the budget, because every heartbeat moves the time of an inferred ending. */
function liveAllocations(sessions: EffectParts['sessions']): Map<SessionId, Allocation> {
  const allocations = sessions.all().map(allocationOf);
  return new Map(allocations.filter((one) => one !== null).map((one) => [one.sessionId, one]));
}

async function spawn(
  parts: EffectParts,
  session: Session,
  { workerId }: Extract<Effect, { do: 'spawn' }>,
): Promise<void> {
  const { id } = session.spec;
  if (await replaceByWarm(parts, session, workerId)) return;
  try {
    const process = await launch(session, workerId, parts);
    failpoint('spawn.before-recorded');
    parts.sessions.post(id, { type: 'spawned', workerId, process });
  } catch (error) {
    parts.sessions.post(id, { type: 'spawn_failed', workerId, detail: launchFailure(error) });
  }
}

async function assign(parts: EffectParts, session: Session, workerId: WorkerId): Promise<void> {
  const { deps, channels, roomTokens } = parts;
  try {
    if (session.spec.profile.protocol === 'livekit')
      channels.offer(workerId, await makeAgentJob(session, deps.rooms));
    else
      channels.send(workerId, {
        type: 'assign',
        job: jobOf(session),
        ...(await roomTokens.take(session)),
      });
  } catch (error) {
    assignFailed(parts, session, { workerId, error });
  }
}

async function admit(
  parts: EffectParts,
  session: Session,
  { workerId, acceptance, notes }: Extract<Effect, { do: 'admit' }>,
): Promise<void> {
  const { workers, channels, roomTokens } = parts;
  for (const line of notes) workers.note(workerId, line);
  try {
    channels.admit(workerId, await roomTokens.admit(session, acceptance));
  } catch (error) {
    assignFailed(parts, session, { workerId, error });
  }
}

function assignFailed(
  { deps, sessions }: EffectParts,
  session: Session,
  { workerId, error }: { workerId: WorkerId; error: unknown },
): void {
  const what = 'a worker could not get its room';
  deps.log.error({ worker: workerId, error: messageOf(error) }, what);
  sessions.post(session.spec.id, {
    type: 'assign_failed',
    workerId,
    detail: `${what}: ${messageOf(error)}`.slice(0, TEXT.detailChars),
  });
}

async function roomStep(
  parts: EffectParts,
  id: SessionId,
  effect: Extract<Effect, { do: 'remove_agent' | 'close_room' }>,
): Promise<void> {
  const { outcome, detail } = await doRoomStep(parts, id, effect).catch(
    (error: unknown): RoomStepResult => ({ outcome: 'failed', detail: messageOf(error) }),
  );
  parts.sessions.post(id, { type: 'room_step', step: effect.do, outcome, detail });
}

async function doRoomStep(
  parts: EffectParts,
  id: SessionId,
  effect: Extract<Effect, { do: 'remove_agent' | 'close_room' }>,
): Promise<RoomStepResult> {
  const { rooms } = parts.deps;
  if (rooms === null) return { outcome: 'skipped', detail: 'no LiveKit is configured' };
  if (effect.do === 'remove_agent') return rooms.removeAgent(effect);
  if (parts.roomRouter?.isSharedWithOthers(effect.room, id))
    return { outcome: 'skipped', detail: 'another session works in this room' };
  return rooms.closeRoom(effect);
}
