/** Where the port is remembered, on a real disk. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listenAt, rememberedPort } from '../../../src/adapters/livekit/standin/stable-port.ts';
import { STAND_IN } from '../../../src/lib/limits/livekit-limits.ts';

it('is kept for the next start; a FIFO in its place is said, and waits for no reader', async () => {
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
