/** Forgets ended sessions and their logs when their time is over. */
import type { WorkerId } from '../core/ids.ts';
import { isEnded, workerOf } from '../core/model/session.ts';
import type { SessionHost } from './sessions/session-host.ts';

export async function prune(sessions: SessionHost): Promise<void> {
  const { deps, workers } = sessions;
  const { wallMs } = deps.clock.now();
  const forgotten = await deps.registry.prune(wallMs - deps.retention.sessionsMs);
  const folders = await workers.prune(wallMs - deps.retention.logsMs, workersInUse(sessions));
  deps.log.info({ sessions: forgotten, folders }, 'old sessions and logs were removed');
}

function workersInUse(sessions: SessionHost): Set<WorkerId> {
  const open = sessions.all().filter((one) => !isEnded(one));
  return new Set(open.map(workerOf).flatMap((worker) => (worker === null ? [] : [worker.id])));
}
