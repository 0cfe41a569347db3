/** A file system that does not answer for one log; none can be had for a test, so that one call of Node is replaced. */
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { capsBeside } from '../../support/workers/capped-logs.ts';

const hung = vi.hoisted(() => ({ asked: 0 }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const stat = (path: string) => {
    if (!path.endsWith('hangs')) return real.stat(path);
    hung.asked += 1;
    return new Promise(() => {});
  };
  return { ...real, stat };
});

it('a log that hangs is said once and not asked again, and the others are looked after', async () => {
  const said = await capsBeside('hangs', (dir) => join(dir, 'hangs'));
  expect(said).toEqual([{ worker: 'hangs', error: expect.stringContaining('not within') }]);
  expect(hung.asked).toBe(1);
});
