/** Two hundred sessions under a supervisor, workers, shims and a LiveKit that are killed at random. */
import { expect, it } from 'vitest';
import { runChaos } from '../chaos/chaos.ts';

it('leaks nothing, doubles nothing, kills no bystander, and gives true reasons', async () => {
  const seed = Date.now() % 1_000_000;
  const { violations } = await runChaos({ sessions: 200, seed, say: () => undefined });
  expect(violations, `npm run chaos -- --sessions 200 --seed ${seed}`).toEqual([]);
});
