/** A file system that does not answer for one log; none can be had for a test, so that one call of Node is replaced. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { createLogCap } from '../../src/worker/logs.ts';
import { until } from '../support/wait.ts';

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
  const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
  const said: object[] = [];
  const note = (fields: object) => void said.push(fields);
  const cap = createLogCap({
    log: { debug: note, info: note, warn: note, error: note },
    sizes: { headBytes: 10, tailBytes: 10 },
  });
  const path = join(dir, 'log');
  cap.watch('hangs', join(dir, 'hangs'));
  cap.watch('there', path);
  for (let round = 0; round < 3; round++) {
    writeFileSync(path, 'x'.repeat(10_000));
    await until('it is cut', () => statSync(path).size < 1000);
  }
  cap.close();
  rmSync(dir, { recursive: true });
  expect(said).toEqual([{ worker: 'hangs', error: expect.stringContaining('not within') }]);
  expect(hung.asked).toBe(1);
});
