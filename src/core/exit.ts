import type { Stamp } from './ids.ts';
import type { Ending, ExitInfo } from './session.ts';
import { endingOf } from './state.ts';

/** What an exit says by itself: 0 is done, unknown is lost, all else is a crash. */
export function exitEnding(exit: ExitInfo, now: Stamp): Ending {
  if (exit.oomKilled === true && exit.code !== 0)
    return endingOf('memory_limit', now, {
      cause: 'oom_kill',
      detail: 'the kernel ended it at its memory limit',
    });
  if (exit.code === 0)
    return endingOf('completed', now, { cause: 'exit', detail: 'the worker exited with code 0' });
  if (exit.signal !== null)
    return endingOf('crashed', now, { cause: 'exit', detail: `the worker was ended by ${exit.signal}` });
  if (exit.code === null)
    return endingOf('worker_lost', now, {
      cause: 'exit',
      detail: 'the worker is gone, its exit status is unknown',
    });
  return endingOf('crashed', now, { cause: 'exit', detail: `the worker exited with code ${exit.code}` });
}
