/** Does what the core decided. Each effect answers with an event; none of them throws or is awaited by a mailbox. */

import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf } from '../../core/admission/allocation.ts';
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import type { RoomStepResult } from '../../ports/rooms.ts';
import type { Workers } from '../../ports/workers.ts';
import type { AdmissionGate } from '../dispatch/admission-gate.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import { jobOf, launch, launchFailure, standInJob } from '../workers/worker-env.ts';

/** What the effects work with: the sessions of this supervisor. */
export interface EffectHost {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly admission: AdmissionGate;
  readonly roomRouter: RoomRouter | null;
  all(): Session[];
  state(id: SessionId): Session | null;
  post(id: SessionId, event: SessionEvent): void;
  readonly channels: ChannelRouter;
  readonly roomTokens: RoomTokens;
}

export function performEffect(sessions: EffectHost, session: Session, effect: Effect): void {
  const { id, room } = session.spec;
  const { deps, workers, roomRouter } = sessions;
  switch (effect.do) {
    case 'spawn':
      void spawn(sessions, session, effect);
      return;
    case 'tell':
      sessions.channels.tell(effect.workerId, effect.message);
      return;
    case 'assign':
      void assign(sessions, session, effect.workerId);
      return;
    case 'signal':
      workers.signal(effect.workerId, effect.signal);
      return;
    case 'reap':
      workers.reap(effect.workerId);
      return;
    case 'poll_room':
      deps.rooms?.poll(room);
      return;
    case 'remove_agent':
    case 'close_room':
      void roomStep(sessions, id, effect);
      return;
    case 'ask_budget':
      sessions.post(id, {
        type: 'budget',
        granted: sessions.admission.askBudget(id, { again: effect.again, holders: liveHoldings(sessions) }),
      });
      return;
    case 'report_job':
      deps.jobs?.report(effect.jobId, effect.status, effect.error);
      return;
    case 'refuse_call':
      if (session.spec.profile.onRefused === 'close')
        roomRouter?.refused(effect.room, { at: deps.clock.now(), by: id, ownJob: effect.ownJob });
      return;
    case 'watch_room':
      roomRouter?.watch(effect.watch);
      return;
  }
}

/** Read afresh: when an inferred ending is due changes with every heartbeat. */
function liveHoldings(sessions: EffectHost): Map<SessionId, Allocation> {
  const holdings = sessions.all().map(allocationOf);
  return new Map(holdings.filter((one) => one !== null).map((one) => [one.sessionId, one]));
}

async function spawn(
  sessions: EffectHost,
  session: Session,
  { workerId }: Extract<Effect, { do: 'spawn' }>,
): Promise<void> {
  const { id } = session.spec;
  try {
    const process = await launch(session, workerId, sessions);
    failpoint('spawn.before-recorded');
    sessions.post(id, { type: 'spawned', workerId, process });
  } catch (error) {
    sessions.post(id, { type: 'spawn_failed', workerId, detail: launchFailure(error) });
  }
}

async function assign(sessions: EffectHost, session: Session, workerId: WorkerId): Promise<void> {
  const { deps, channels } = sessions;
  try {
    const access = await sessions.roomTokens.take(session);
    channels.assign(workerId, standInJob(session, access), {
      type: 'assign',
      job: jobOf(session),
      ...access,
    });
  } catch (error) {
    deps.log.error({ worker: workerId, error: messageOf(error) }, 'a worker could not be given its room');
  }
}

async function roomStep(
  sessions: EffectHost,
  id: SessionId,
  effect: Extract<Effect, { do: 'remove_agent' | 'close_room' }>,
): Promise<void> {
  const { outcome, detail } = await doRoomStep(sessions, id, effect).catch(
    (error: unknown): RoomStepResult => ({ outcome: 'failed', detail: messageOf(error) }),
  );
  sessions.post(id, { type: 'room_step', step: effect.do, outcome, detail });
}

async function doRoomStep(
  sessions: EffectHost,
  id: SessionId,
  effect: Extract<Effect, { do: 'remove_agent' | 'close_room' }>,
): Promise<RoomStepResult> {
  const { rooms } = sessions.deps;
  if (rooms === null) return { outcome: 'skipped', detail: 'no LiveKit is configured' };
  if (effect.do === 'remove_agent') return rooms.removeAgent(effect);
  if (sessions.roomRouter?.isSharedWithOthers(effect.room, id))
    return { outcome: 'skipped', detail: 'another session works in this room' };
  return rooms.closeRoom(effect);
}
