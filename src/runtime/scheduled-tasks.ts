/** What the supervisor does by the clock. */
import module from 'node:module';
import type { Actor } from '../core/model/session.ts';
import { messageOf } from '../lib/errors.ts';
import { CLEANUP } from '../lib/limits/cleanup-limits.ts';
import { RETENTION } from '../lib/limits/storage-limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { prune } from './retention.ts';
import type { Supervisor } from './supervisor.ts';

/** What comes round by the clock, and the first sweep: soon after the start, for those who wait to reconnect or to ask come first. */
export function startTasks(
  supervisor: Supervisor,
  { clock, log }: { clock: Clock; log: Log },
): () => Promise<void> {
  const by: Actor = { kind: 'supervisor', name: 'sweep' };
  const sweep = () => supervisor.cleanup({ dryRun: false }, by);
  const stops: (() => Promise<void>)[] = [];
  let stopped = false;
  const begin = async () => {
    const { startTask } = await import('./cron-task.ts');
    if (stopped) return;
    stops.push(
      startTask({ name: 'retention', cron: RETENTION.cron, log, work: () => prune(supervisor.parts) }),
      startTask({ name: 'sweep', cron: CLEANUP.cron, log, work: sweep }),
    );
    await supervisor.lookForUnknown();
    await sweep();
    log.debug({}, 'the first sweep is done');
  };
  const cancel = clock.at(clock.now().bootMs + CLEANUP.firstAfterMs, () => {
    // Of a supervisor that is killed nothing is kept at its end.
    module.flushCompileCache?.();
    begin().catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the first sweep failed'));
  });
  return async () => {
    stopped = true;
    cancel();
    await Promise.all(stops.map((stop) => stop()));
  };
}
