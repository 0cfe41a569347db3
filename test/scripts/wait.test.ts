/** What a wait that failed says. */
import { expect, it } from 'vitest';
import { until } from '../support/lib/wait.ts';

it('a wait that fails says what was seen last', async () => {
  await expect(until('it is there', () => 0, 0)).rejects.toThrow(
    'not within 0 ms: it is there; last seen: 0',
  );
});

it('a wait whose question fails says how', async () => {
  const probe = () => Promise.reject(new Error('nobody answers'));
  await expect(until('it is there', probe, 0)).rejects.toThrow('last seen: nobody answers');
});
