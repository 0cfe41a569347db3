/** A log on a file system that hangs. Because: a test cannot have such a file system, so one call of Node is replaced. */
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { capsOneLogBeside } from '../../support/workers/capped-logs.ts';

const hung = vi.hoisted(() => ({ calls: 0 }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const stat = (path: string) => {
    if (!path.endsWith('hangs')) return real.stat(path);
    hung.calls += 1;
    return new Promise(() => {});
  };
  return { ...real, stat };
});

it('a log that hangs is reported once and not read again, and other logs are still cut', async () => {
  const logged = await capsOneLogBeside('hangs', (dir) => join(dir, 'hangs'));
  expect(logged).toEqual([{ worker: 'hangs', error: expect.stringContaining('not within') }]);
  expect(hung.calls).toBe(1);
});
