import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openJournal } from '../../../src/adapters/worker/forward/journal-sink.ts';
import { until } from '../../support/lib/wait.ts';

it('the journal gets the header of its stream protocol, then the lines, on each connection', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-journal-'));
  const path = join(dir, 'stdout');
  const got: string[] = [];
  const server = createServer((socket) => {
    const at = got.push('') - 1;
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      got[at] += String(data);
      if (String(data).includes('first')) socket.destroy();
    });
  });
  const sink = openJournal(path);
  const write = (text: string) =>
    new Promise<string | null>((done) => sink.write(text, (error) => done(error?.message ?? null)));
  try {
    expect(await write('early\n')).toContain('ENOENT');
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await write('{"line":"first"}\n');
    await until('a later connection has a line', async () => {
      await write('{"line":"next"}\n');
      return got.length > 1;
    });
    await until('the header has arrived', () => got[1]?.includes('next'));
    expect(got[0]).toMatch(/^curfew-worker\n\n6\n0\n0\n0\n0\n\{"line":"first"\}\n/);
    expect(got[1]).toMatch(/^curfew-worker\n\n6\n0\n0\n0\n0\n\{"line":"next"\}\n/);
  } finally {
    sink.close();
    server.close();
    rmSync(dir, { recursive: true });
  }
});
