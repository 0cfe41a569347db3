/** A test that failed shows what its supervisors and their workers said: on another machine it may not fail again. */
import { afterEach } from 'vitest';
import { Daemon } from '../daemon/daemon.ts';

afterEach(({ task }) => {
  const isFailed = task.result?.state === 'fail';
  for (const daemon of Daemon.recent) {
    if (isFailed) console.error(`${task.name}: ${daemon.said()}`);
    if (daemon.isClosed) Daemon.recent.delete(daemon);
  }
});
