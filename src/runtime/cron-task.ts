/** A task that runs on a cron schedule. Two runs of one task never overlap. */
import { schedule } from 'node-cron';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../ports/log.ts';

/** Runs until the returned function stops it. A failure is logged, and the next run tries again. */
export function startTask(task: {
  readonly name: string;
  readonly cron: string;
  readonly log: Log;
  readonly work: () => Promise<unknown>;
}): () => Promise<void> {
  const { name, cron, log, work } = task;
  const guarded = async () => {
    try {
      await work();
    } catch (error) {
      log.warn({ task: name, error: messageOf(error) }, 'a scheduled task failed; its next run tries again');
    }
  };
  const scheduled = schedule(cron, guarded, { noOverlap: true, name, logger: quiet(log) });
  return async () => {
    await scheduled.destroy();
  };
}

/** Sends node-cron's own messages to curfew's log. */
function quiet(log: Log) {
  return {
    info: (text: string) => log.debug({}, text),
    warn: (text: string) => log.warn({}, text),
    error: (text: string | Error) => log.error({ error: messageOf(text) }, 'the scheduler of a task failed'),
    debug: (text: string | Error) => log.debug({}, messageOf(text)),
  };
}
