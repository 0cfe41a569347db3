/** Forgets ended sessions and their logs when their time is over. */
import { schedule } from 'node-cron';
import type { WorkerId } from '../core/ids.ts';
import { isEnded, workerOf } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import type { Sessions } from './sessions.ts';

/** Once an hour, never twice at a time; the returned function stops it. */
export function startRetention(sessions: Sessions): () => Promise<void> {
  const { log } = sessions.deps;
  const task = schedule('17 * * * *', () => prune(sessions), {
    noOverlap: true,
    name: 'retention',
    logger: quiet(log),
  });
  return async () => {
    await task.destroy();
  };
}

async function prune(sessions: Sessions): Promise<void> {
  const { deps, workers } = sessions;
  const { wallMs } = deps.clock.now();
  try {
    const forgotten = await deps.registry.prune(wallMs - deps.retention.sessionsMs);
    const folders = await workers.prune(wallMs - deps.retention.logsMs, workersInUse(sessions));
    deps.log.info({ sessions: forgotten, folders }, 'old sessions and logs were removed');
  } catch (error) {
    deps.log.warn(
      { error: messageOf(error) },
      'old sessions and logs could not be removed; tried again in an hour',
    );
  }
}

function workersInUse(sessions: Sessions): Set<WorkerId> {
  const open = sessions.all().filter((one) => !isEnded(one));
  return new Set(open.map(workerOf).flatMap((worker) => (worker === null ? [] : [worker.id])));
}

/** node-cron's own printing goes to curfew's log. */
function quiet(log: Sessions['deps']['log']) {
  return {
    info: (text: string) => log.debug({}, text),
    warn: (text: string) => log.warn({}, text),
    error: (text: string | Error) => log.error({ error: messageOf(text) }, 'the retention task failed'),
    debug: (text: string | Error) => log.debug({}, messageOf(text)),
  };
}
