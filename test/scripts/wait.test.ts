/** The error of a wait that failed. */
import { expect, it } from 'vitest';
import { until } from '../support/lib/wait.ts';

it('a wait that fails names the last value', async () => {
  await expect(until('it is there', () => 0, 0)).rejects.toThrow(
    'not within 0 ms: it is there; last seen: 0',
  );
});

it('a wait with a failing probe names the error of the probe', async () => {
  const probe = () => Promise.reject(new Error('no answer'));
  await expect(until('it is there', probe, 0)).rejects.toThrow('last seen: no answer');
});
