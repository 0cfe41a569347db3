/** Tasks that come round by the clock, never twice at a time. */
import { schedule } from 'node-cron';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../ports/log.ts';

/** Runs until the returned function stops it. A failure is said and tried again at the next time. */
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
      log.warn({ task: name, error: messageOf(error) }, 'a task failed; it is tried again at its next time');
    }
  };
  const scheduled = schedule(cron, guarded, { noOverlap: true, name, logger: quiet(log) });
  return async () => {
    await scheduled.destroy();
  };
}

/** node-cron's own printing goes to curfew's log. */
function quiet(log: Log) {
  return {
    info: (text: string) => log.debug({}, text),
    warn: (text: string) => log.warn({}, text),
    error: (text: string | Error) => log.error({ error: messageOf(text) }, 'a task of the clock failed'),
    debug: (text: string | Error) => log.debug({}, messageOf(text)),
  };
}
