/** The output of a worker whose start failed, below the error of `curfew dispatch --wait`. */
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import type { Client } from '../../src/cli/daemon-client.ts';
import { startOutput } from '../../src/cli/start-output.ts';

const client = (stream: () => Promise<Readable>) => ({ stream }) as unknown as Client;
const printed = (text: string) =>
  startOutput(
    client(async () => Readable.from([Buffer.from(text)])),
    's-1',
  );

it('is the last lines of the log, without control characters', async () => {
  const text = await printed(`old\n1\n2\n\n3\n4\n\u001b[31m${'x'.repeat(500)}\n`);
  const lines = text.split('\n');
  expect(lines.slice(0, 5)).toEqual(['  The last lines of its log:', '    1', '    2', '    3', '    4']);
  expect(lines).toHaveLength(6);
  expect(lines[5]).toContain('x'.repeat(100));
  expect(text).not.toContain('\u001b');
  expect(text).not.toContain('x'.repeat(201));
});

it('names the shared port only where the log does', async () => {
  const hint = 'use the same port, such as 8081';
  const flat = async (text: string) => (await printed(text)).replaceAll(/\s+/g, ' ');
  expect(await flat("can't open file 'agnet.py'\n")).not.toContain(hint);
  expect(
    await flat('OSError: [Errno 98] error while attempting to bind: address already in use\n'),
  ).toContain(hint);
});

it('is nothing where there is no output, or it may not be read', async () => {
  expect(await printed('\n')).toBe('');
  expect(
    await startOutput(
      client(() => Promise.reject(new Error('forbidden'))),
      's-1',
    ),
  ).toBe('');
});
