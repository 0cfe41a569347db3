/** A failed test prints the output of its supervisors and workers, because it may not fail again on another machine. */
import { afterEach } from 'vitest';
import { Daemon } from '../daemon/daemon.ts';

afterEach(({ task }) => {
  const isFailed = task.result?.state === 'fail';
  for (const daemon of Daemon.recent) {
    if (isFailed) console.error(`${task.name}: ${daemon.said()}`);
    if (daemon.isClosed) Daemon.recent.delete(daemon);
  }
});
