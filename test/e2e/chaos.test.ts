/** Two hundred sessions while the test kills the supervisor, workers, shims and LiveKit at random. */
import { expect, it } from 'vitest';
import { runChaos } from '../chaos/chaos.ts';

it('chaos leaks no process, doubles no worker, kills no bystander, and every reason is true', async () => {
  const seed = Date.now() % 1_000_000;
  const { violations } = await runChaos({ sessions: 200, seed, say: () => undefined });
  expect(violations, `npm run chaos -- --sessions 200 --seed ${seed}`).toEqual([]);
});
