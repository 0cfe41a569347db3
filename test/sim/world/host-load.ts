/** The load of the simulated host: usually low, and now and then full for a while. */
import type { HostMonitor } from '../../../src/ports/host-monitor.ts';
import type { World } from './world.ts';

const BUSY_SHARE = 0.1;
const BUSY_MS: [number, number] = [20_000, 60_000];

export function loadOf(world: World): HostMonitor {
  let busyUntilMs = 0;
  return {
    sample: () => {
      const isBusy = world.bootMs < busyUntilMs;
      if (!isBusy && world.random.chance(BUSY_SHARE))
        busyUntilMs = world.bootMs + world.random.wait(...BUSY_MS);
      return { cpu: isBusy ? 1 : 0.2, memoryFree: 0.5 };
    },
  };
}
