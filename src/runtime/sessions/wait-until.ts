/** Waiting for what the sessions come to. */
import type { SessionHost } from './session-host.ts';

/** Resolves when `reached` holds after some change, or at the deadline. */
export function untilChanged(
  sessions: SessionHost,
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
    const cancel = sessions.deps.clock.at(deadlineMs, finish);
  });
}
