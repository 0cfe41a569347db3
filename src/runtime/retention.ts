/** Removes ended sessions and their logs when their retention time is over. */
import type { WorkerId } from '../core/ids.ts';
import { isEnded, workerOf } from '../core/model/session.ts';
import type { SupervisorParts } from './supervisor-parts.ts';

type RetentionParts = Pick<SupervisorParts, 'deps' | 'sessions' | 'workers'>;

export async function prune({ deps, sessions, workers }: RetentionParts): Promise<void> {
  const { wallMs } = deps.clock.now();
  const removed = await deps.registry.prune(wallMs - deps.retention.sessionsMs);
  const folders = await workers.prune(wallMs - deps.retention.logsMs, workersInUse(sessions));
  await workers.loadEndedLogs(workersInUse(sessions));
  if (removed + folders > 0)
    deps.log.info({ sessions: removed, folders }, 'old sessions and logs were removed');
}

export function workersInUse(sessions: RetentionParts['sessions']): Set<WorkerId> {
  const open = sessions.all().filter((one) => !isEnded(one));
  return new Set(open.map(workerOf).flatMap((worker) => (worker === null ? [] : [worker.id])));
}
