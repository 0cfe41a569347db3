/** The supervisor's tasks by the clock: retention and cleanup. */
import module from 'node:module';
import type { Actor } from '../core/model/session.ts';
import { messageOf } from '../lib/errors.ts';
import { CLEANUP } from '../lib/limits/cleanup-limits.ts';
import { RETENTION } from '../lib/limits/storage-limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { prune, workersInUse } from './retention.ts';
import type { Supervisor } from './supervisor.ts';

/** Starts the tasks. The first cleanup runs a little after the start, because reconnects of workers and requests of people come first. */
export function startTasks(
  supervisor: Supervisor,
  { clock, log }: { clock: Clock; log: Log },
): () => Promise<void> {
  const by: Actor = { kind: 'supervisor', name: 'cleanup' };
  const cleanup = async () => {
    await supervisor.cleanup({ dryRun: false }, by);
    const folders = await supervisor.parts.workers.removeLeftTemp();
    if (folders > 0) log.info({ folders }, 'temporary folders of ended workers were removed');
  };
  const stops: (() => Promise<void>)[] = [];
  let stopped = false;
  const begin = async () => {
    const { startTask } = await import('./cron-task.ts');
    if (stopped) return;
    stops.push(
      startTask({ name: 'retention', cron: RETENTION.cron, log, work: () => prune(supervisor.parts) }),
      startTask({ name: 'cleanup', cron: CLEANUP.cron, log, work: cleanup }),
    );
    await supervisor.rebuildUnknownSessions();
    await cleanup();
    const { workers, sessions } = supervisor.parts;
    await workers.loadEndedLogs(workersInUse(sessions));
    log.debug({}, 'the first cleanup is done');
  };
  const cancel = clock.at(clock.now().bootMs + CLEANUP.firstAfterMs, () => {
    // Because: a killed supervisor writes no compile cache at its end.
    module.flushCompileCache?.();
    begin().catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the first cleanup failed'));
  });
  return async () => {
    stopped = true;
    cancel();
    await Promise.all(stops.map((stop) => stop()));
  };
}
