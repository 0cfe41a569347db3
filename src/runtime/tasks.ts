/** What the supervisor does by the clock. */
import module from 'node:module';
import type { Author } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import { RETENTION, SWEEP } from '../limits.ts';
import type { Clock, Log } from '../ports.ts';
import { prune } from './retention.ts';
import type { Supervisor } from './supervisor.ts';

/** What comes round by the clock, and the first sweep: soon after the start, for those who wait to reconnect or to ask come first. */
export function startTasks(
  supervisor: Supervisor,
  { clock, log }: { clock: Clock; log: Log },
): () => Promise<void> {
  const by: Author = { kind: 'supervisor', name: 'sweep' };
  const sweep = () => supervisor.sweep({ dryRun: false }, by);
  const stops: (() => Promise<void>)[] = [];
  let stopped = false;
  const begin = async () => {
    const { startTask } = await import('./cron.ts');
    if (stopped) return;
    stops.push(
      startTask({ name: 'retention', cron: RETENTION.cron, log, work: () => prune(supervisor.sessions) }),
      startTask({ name: 'sweep', cron: SWEEP.cron, log, work: sweep }),
    );
    await supervisor.lookForUnknown();
    await sweep();
    log.debug({}, 'the first sweep is done');
  };
  const cancel = clock.at(clock.now().bootMs + SWEEP.firstAfterMs, () => {
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
