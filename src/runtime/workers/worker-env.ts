/** The start of a worker: its environment, its token and the record in its folder. Also the job that it gets. */

import { createHash } from 'node:crypto';
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Session } from '../../core/model/session.ts';
import { wantsStart, workerOf } from '../../core/model/session.ts';
import { toRecord } from '../../core/model/session-record.ts';
import type { WorkerProcess } from '../../core/model/worker.ts';
import { isPreforked } from '../../core/workers/zygote-rules.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { SpawnRequest, Workers } from '../../ports/workers.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';

export interface Forks {
  /** How a worker of this profile is forked. Empty: it starts cold. */
  forkOf(profile: Profile): Pick<SpawnRequest, 'fork' | 'forkFailed' | 'shared'>;
}

interface LaunchHost {
  readonly roomTokens: RoomTokens;
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly zygotes: Forks;
  readonly sessions: { state(id: SessionId): Session | null };
}

export async function launch(session: Session, id: WorkerId, host: LaunchHost): Promise<WorkerProcess> {
  const { deps, workers } = host;
  const { spec } = session;
  const env = { ...controlEnv(session, id, deps), ...(await roomEnv(session, host)) };
  // Race: the session can end while the token is made. Then a teardown that waits for the worker learns that none starts.
  const current = host.sessions.state(spec.id);
  if (current === null || !wantsStart(current, id))
    throw new CurfewError('spawn_failed', 'its session ended before it ran');
  const record = { session: toRecord(session) };
  return workers.spawn({
    workerId: id,
    profile: spec.profile,
    env,
    ...agentEnv(id, spec.profile, deps),
    ...host.zygotes.forkOf(spec.profile),
    record,
  });
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
  deps: SupervisorDeps,
): Pick<SpawnRequest, 'env' | 'envFrom'> {
  const env = channelEnv(id, deps);
  if (profile.protocol === 'livekit') return { env, ...agentEnv(id, profile, deps) };
  return { env: deps.rooms === null ? env : { ...env, LIVEKIT_URL: deps.rooms.url } };
}

/** The environment of a zygote. Its keys and its token open no session. */
export function zygoteEnv(
  id: WorkerId,
  profile: Profile,
  deps: SupervisorDeps,
): Pick<SpawnRequest, 'env' | 'envFrom'> {
  return { env: { ...channelEnv(id, deps), CURFEW_ZYGOTE: '1' }, ...agentEnv(id, profile, deps) };
}

/**
 * The way to the inference process of a JavaScript agent's zygote. The key is made from the zygote's token, because a worker
 * must not have the token itself.
 */
export function sharedEnv(
  zygote: WorkerId,
  { instance, channels }: Pick<SupervisorDeps, 'instance' | 'channels'>,
): Record<string, string> {
  const key = createHash('sha256')
    .update(`inference:${channels.tokenFor(zygote)}`)
    .digest('base64url');
  return { CURFEW_INFERENCE: `${instance.id}/${zygote}`, CURFEW_INFERENCE_KEY: key };
}

/** A LiveKit agent connects to curfew for its job. */
function agentEnv(
  id: WorkerId,
  profile: Profile,
  { standIn }: Pick<SupervisorDeps, 'standIn'>,
): Pick<SpawnRequest, 'envFrom'> {
  if (profile.protocol !== 'livekit' || standIn === null) return {};
  return {
    envFrom: (given) => ({
      ...standIn.envFor(id, profile, given),
      ...attachEnv(profile),
      ...processEnv(profile),
    }),
  };
}

/** All workers but LiveKit agents get their room with their start. */
async function roomEnv(
  session: Session,
  { roomTokens, deps: { rooms } }: LaunchHost,
): Promise<Record<string, string>> {
  if (rooms === null || session.spec.profile.protocol === 'livekit') return {};
  const { url, token } = await roomTokens.take(session);
  return { LIVEKIT_URL: url, LIVEKIT_TOKEN: token };
}

/** The launchers attach to each AgentSession, unless this says `off`. */
function attachEnv({ autoAttach = null }: Profile): Record<string, string> {
  return { CURFEW_ATTACH: autoAttach === null ? 'off' : 'auto' };
}

/** The launcher for Node runs the job in the worker's main process. Python's own way is a fork of a zygote. */
function processEnv(profile: Profile): Record<string, string> {
  return isPreforked(profile) ? { CURFEW_ONE_PROCESS: '1' } : {};
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
