/** The file that remembers the port of the stand-in, on a real disk. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listenAt, rememberedPort } from '../../../src/adapters/livekit/standin/stable-port.ts';
import { STAND_IN } from '../../../src/lib/limits/livekit-limits.ts';

it('the port of the stand-in is kept for the next start, and a FIFO in place of its file is refused at once', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'curfew-port-'));
  const [first, second] = [createServer(), createServer()];
  try {
    const port = await listenAt(first, { stateDir, port: 0 });
    expect(rememberedPort(stateDir)).toBe(port);
    rmSync(join(stateDir, STAND_IN.portFile));
    execFileSync('mkfifo', [join(stateDir, STAND_IN.portFile)]);
    await expect(listenAt(second, { stateDir, port: 0 })).rejects.toMatchObject({ code: 'invalid_config' });
  } finally {
    first.close();
    second.close();
    rmSync(stateDir, { recursive: true });
  }
});
