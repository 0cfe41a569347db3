/** What a worker is started with: its environment, its token and the record in its folder. */

import type { WorkerId } from '../core/ids.ts';
import type { Session, WorkerProcess } from '../core/session.ts';
import { CurfewError } from '../errors.ts';
import type { Workers } from '../ports.ts';
import type { AccessBook } from './access.ts';
import type { SupervisorDeps } from './deps.ts';

interface LaunchHost {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly access: AccessBook;
}

export async function launch(session: Session, id: WorkerId, host: LaunchHost): Promise<WorkerProcess> {
  const { deps, workers } = host;
  const { spec } = session;
  const env = { ...controlEnv(session, id, deps), ...(await roomEnv(session, host)) };
  return workers.spawn({ workerId: id, profile: spec.profile, env, record: { session } });
}

function controlEnv(
  { spec, config }: Session,
  id: WorkerId,
  { instance, channels }: SupervisorDeps,
): Record<string, string> {
  return {
    CURFEW_WORKER: `${instance.id}/${id}`,
    CURFEW_SOCKET: channels.socketPath,
    CURFEW_TOKEN: channels.tokenFor(id),
    CURFEW_SESSION_ID: spec.id,
    CURFEW_ROOM: spec.room.name,
    CURFEW_METADATA: JSON.stringify(config.metadata),
  };
}

async function roomEnv(
  session: Session,
  { deps: { rooms }, access }: LaunchHost,
): Promise<Record<string, string>> {
  if (rooms === null) return {};
  const { url, token } = await access.for(session, rooms);
  return { LIVEKIT_URL: url, LIVEKIT_TOKEN: token };
}

/** Text for the evidence: what kept the worker from starting. */
export function launchFailure(error: unknown): string {
  if (error instanceof CurfewError) return error.message;
  return error instanceof Error
    ? `the worker could not be started: ${error.message}`
    : 'the worker could not be started';
}
