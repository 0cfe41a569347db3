/** The messages to the thread that forwards logs: each log begins at its start once, and a new thread goes on at the noted place. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLog } from '../../../src/adapters/telemetry/pino-log.ts';
import { ForwardClient } from '../../../src/adapters/worker/forward/forward-client.ts';

const record = (id: string) => ({ session: { spec: { id, profile: { agent: 'voice' } } } });
const OPEN = { forward: 'open', to: 'stdout' };

let dir: string;
let client: ForwardClient;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-forward-'));
  const log = createLog({ level: 'silent', format: 'text' });
  client = new ForwardClient({ to: 'stdout', workersDir: dir, log });
});
afterEach(async () => {
  await client.thread.close();
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true });
});

it('a log begins at its start once, and a new thread goes on at the noted place', async () => {
  const post = vi.spyOn(Worker.prototype, 'postMessage');
  const path = (id: string) => join(dir, `${id}.1`, 'log');
  const begin = (id: string) => {
    client.watch(`${id}.1`, path(id), 'start');
    client.recorded(`${id}.1`, record(id));
  };
  const watch = (id: string, from: 'start' | 'noted') => ({
    forward: 'watch',
    path: path(id),
    from,
    owner: { worker: `${id}.1`, agent: 'voice', session: id },
  });
  const sent = () => post.mock.calls.splice(0).map(([message]) => message as unknown);

  // The first message starts the thread.
  begin('a');
  expect(sent()).toEqual([OPEN, watch('a', 'start')]);
  begin('b');
  expect(sent()).toEqual([watch('b', 'start')]);

  await (post.mock.contexts[0] as Worker).terminate();
  begin('c');
  expect(sent()).toEqual([OPEN, watch('a', 'noted'), watch('b', 'noted'), watch('c', 'start')]);
});
