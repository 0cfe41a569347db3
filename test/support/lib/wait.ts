import { setTimeout as pause } from 'node:timers/promises';

const PROBE_EVERY_MS = 25;

/** Waits for a condition with a bound, in milliseconds. The error names the last value of the probe. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  boundMs = 30_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + boundMs;
  for (;;) {
    let seen: string;
    try {
      const last = await probe();
      if (last) return last as NonNullable<T>;
      seen = JSON.stringify(last);
    } catch (error) {
      seen = error instanceof Error ? error.message : String(error);
    }
    if (performance.now() > deadline)
      throw new Error(`not within ${boundMs} ms: ${what}; last seen: ${seen}`);
    await pause(PROBE_EVERY_MS);
  }
}
