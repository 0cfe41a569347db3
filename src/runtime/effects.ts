/** Does what the core decided. Each effect answers with an event; none of them throws or is awaited by a mailbox. */

import type { Effect } from '../core/effect.ts';
import type { SessionEvent } from '../core/event.ts';
import type { Holding } from '../core/holdings.ts';
import { holdingOf } from '../core/holdings.ts';
import type { SessionId, WorkerId } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import { failpoint } from '../failpoints.ts';
import type { RoomStepResult, Workers } from '../ports.ts';
import type { Access } from './access.ts';
import type { SupervisorDeps } from './deps.ts';
import type { FrontDesk } from './front-desk.ts';
import { jobOf, launch, launchFailure, standInJob } from './launch.ts';
import type { Lines } from './lines.ts';
import type { RoomDesk } from './room-desk.ts';

/** What the effects work with: the sessions of this supervisor. */
export interface EffectHost {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly desk: FrontDesk;
  readonly roomDesk: RoomDesk | null;
  all(): Session[];
  state(id: SessionId): Session | null;
  post(id: SessionId, event: SessionEvent): void;
  readonly lines: Lines;
  readonly access: Access;
}

export function performEffect(sessions: EffectHost, session: Session, effect: Effect): void {
  const { id, room } = session.spec;
  const { deps, workers, roomDesk } = sessions;
  switch (effect.do) {
    case 'spawn':
      void spawn(sessions, session, effect);
      return;
    case 'tell':
      sessions.lines.tell(effect.workerId, effect.message);
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
    case 'look':
      deps.rooms?.look(room);
      return;
    case 'remove_agent':
    case 'close_room':
      void roomStep(sessions, id, effect);
      return;
    case 'ask_budget':
      sessions.post(id, {
        type: 'budget',
        granted: sessions.desk.askBudget(id, { again: effect.again, holders: liveHoldings(sessions) }),
      });
      return;
    case 'report_job':
      deps.jobs?.report(effect.jobId, effect.status, effect.error);
      return;
    case 'refuse_call':
      if (session.spec.profile.onRefused === 'close')
        roomDesk?.refused(effect.room, { at: deps.clock.now(), by: id, ownJob: effect.ownJob });
      return;
    case 'watch_room':
      roomDesk?.watch(effect.watch);
      return;
  }
}

/** Read afresh: when an inferred ending is due changes with every heartbeat. */
function liveHoldings(sessions: EffectHost): Map<SessionId, Holding> {
  const holdings = sessions.all().map(holdingOf);
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
  const { deps, lines } = sessions;
  try {
    const access = await sessions.access.take(session);
    lines.assign(workerId, standInJob(session, access), { type: 'assign', job: jobOf(session), ...access });
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
  if (sessions.roomDesk?.isSharedWithOthers(effect.room, id))
    return { outcome: 'skipped', detail: 'another session works in this room' };
  return rooms.closeRoom(effect);
}
