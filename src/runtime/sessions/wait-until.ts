/** Waits for a state of the sessions. */
import type { Clock } from '../../ports/clock.ts';
import type { SessionHost } from './session-host.ts';

/** Resolves when `reached` holds after some change, or at the deadline. */
export function untilChanged(
  { sessions, deps: { clock } }: { sessions: SessionHost; deps: { clock: Clock } },
  { reached, deadlineMs }: { reached: () => boolean; deadlineMs: number },
): Promise<void> {
  if (reached()) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      forget();
      cancel();
      resolve();
    };
    const forget = sessions.onChange(() => {
      if (reached()) finish();
    });
    const cancel = clock.at(deadlineMs, finish);
  });
}
