/** The start of a worker: its environment, its token and the record in its folder. Also the job that it gets. */

import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { wantsStart, workerOf } from '../../core/model/session.ts';
import { toRecord } from '../../core/model/session-record.ts';
import type { WorkerProcess } from '../../core/model/worker.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { Workers } from '../../ports/workers.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';

interface LaunchHost {
  readonly roomTokens: RoomTokens;
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly sessions: { state(id: SessionId): Session | null };
}

export async function launch(session: Session, id: WorkerId, host: LaunchHost): Promise<WorkerProcess> {
  const { deps, workers } = host;
  const { spec } = session;
  const env = { ...controlEnv(session, id, deps), ...(await roomEnv(session, id, host)) };
  // Race: the session can end while the token is made. Then a teardown that waits for the worker learns that none starts.
  const current = host.sessions.state(spec.id);
  if (current === null || !wantsStart(current, id))
    throw new CurfewError('spawn_failed', 'its session ended before it ran');
  return workers.spawn({ workerId: id, profile: spec.profile, env, record: { session: toRecord(session) } });
}

function channelEnv(
  id: WorkerId,
  { instance, channels }: Pick<SupervisorDeps, 'instance' | 'channels'>,
): Record<string, string> {
  return {
    CURFEW_WORKER: `${instance.id}/${id}`,
    CURFEW_SOCKET: channels.socketPath,
    CURFEW_TOKEN: channels.tokenFor(id),
  };
}

function controlEnv(
  session: Session,
  id: WorkerId,
  { instance, channels }: SupervisorDeps,
): Record<string, string> {
  const { spec, config } = session;
  return {
    ...channelEnv(id, { instance, channels }),
    CURFEW_SESSION_ID: spec.id,
    CURFEW_ROOM: spec.room.name,
    CURFEW_METADATA: JSON.stringify(config.metadata),
    CURFEW_ATTEMPT: String(workerOf(session)?.attempt ?? 1),
  };
}

/** The environment of a warm worker, which has no room yet. */
export function warmEnv(
  id: WorkerId,
  profile: Profile,
  { instance, channels, rooms, standIn }: SupervisorDeps,
): Record<string, string> {
  const base = channelEnv(id, { instance, channels });
  if (profile.protocol === 'livekit')
    return { ...base, ...standIn?.envFor(id, profile), ...attachEnv(profile) };
  return rooms === null ? base : { ...base, LIVEKIT_URL: rooms.url };
}

/** A LiveKit agent connects to curfew for its job. All other workers get their room with their start. */
async function roomEnv(
  session: Session,
  id: WorkerId,
  { roomTokens, deps: { rooms, standIn } }: LaunchHost,
): Promise<Record<string, string>> {
  if (rooms === null) return {};
  const { profile } = session.spec;
  if (profile.protocol === 'livekit')
    return standIn === null ? {} : { ...standIn.envFor(id, profile), ...attachEnv(profile) };
  const { url, token } = await roomTokens.take(session);
  return { LIVEKIT_URL: url, LIVEKIT_TOKEN: token };
}

/** The launchers attach to each AgentSession, unless this says `off`. */
function attachEnv({ autoAttach = null }: Profile): Record<string, string> {
  return { CURFEW_ATTACH: autoAttach === null ? 'off' : 'auto' };
}

/** The worker's session, as the control protocol sends it. */
export function jobOf(session: Session) {
  const { spec, config } = session;
  return {
    session: spec.id,
    room: spec.room.name,
    attempt: workerOf(session)?.attempt ?? 1,
    metadata: { ...config.metadata },
  };
}

/** Text for the evidence: why the worker did not start. */
export function launchFailure(error: unknown): string {
  if (error instanceof CurfewError) return error.message;
  return error instanceof Error
    ? `the worker could not be started: ${error.message}`
    : 'the worker could not be started';
}
