import { setTimeout as pause } from 'node:timers/promises';

const PROBE_EVERY_MS = 25;

/** Waits for a condition with a bound; fails with what was seen last. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  boundMs = 30_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + boundMs;
  let last: unknown;
  for (;;) {
    last = await Promise.resolve()
      .then(probe)
      .catch((error: unknown) => {
        last = error;
        return null;
      });
    if (last) return last as NonNullable<T>;
    if (performance.now() > deadline)
      throw new Error(`not within ${boundMs} ms: ${what}; last seen: ${JSON.stringify(last)}`);
    await pause(PROBE_EVERY_MS);
  }
}
