/** The port of the stand-in. It stays the same over restarts, because a running worker knows no other. */
import type { Server } from 'node:http';
import { join } from 'node:path';
import { CurfewError, messageOf } from '../../../lib/errors.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { FILES } from '../../../lib/limits/worker-limits.ts';
import { readFileSafelySync, writeFileSafelySync } from '../../../lib/safe-files.ts';

export const HOST = '127.0.0.1';

/** The port that the first start chose. `null`: no valid port is stored. */
export function rememberedPort(stateDir: string): number | null {
  try {
    const port = Number(readFileSafelySync(pathOf(stateDir), FILES.smallBytes, 'followed').trim());
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
  } catch {
    return null;
  }
}

/** `port` 0: the remembered port, else any free one. Rejects invalid_config if the port is taken. */
export async function listenAt(
  server: Server,
  { stateDir, port }: { stateDir: string; port: number },
): Promise<number> {
  const known = port === 0 ? rememberedPort(stateDir) : port;
  if (known === null) return listenAnywhere(server, stateDir);
  try {
    await listen(server, known);
    return known;
  } catch (error) {
    const remedy =
      port === 0
        ? `free it; or remove "${pathOf(stateDir)}" while no LiveKit agent runs, and curfew takes another port`
        : 'free it, or choose another port';
    throw unusable(`cannot listen on ${HOST}:${known} for LiveKit agents: ${messageOf(error)}; ${remedy}`);
  }
}

/**
 * Because: the kernel may give a port of its ephemeral range to an outgoing connection while curfew restarts.
 * So curfew chooses a port below that range.
 */
async function listenAnywhere(server: Server, stateDir: string): Promise<number> {
  const [first, last] = STAND_IN.portRange;
  let failure: unknown = null;
  for (let attempt = 0; attempt < STAND_IN.portAttempts; attempt += 1) {
    const port = first + Math.floor(Math.random() * (last - first));
    try {
      await listen(server, port);
      writeFileSafelySync(pathOf(stateDir), `${port}\n`, { flush: true });
      return port;
    } catch (error) {
      failure = error;
      if (server.listening) break;
    }
  }
  throw unusable(`no port of ${HOST} can be used for LiveKit agents: ${messageOf(failure)}`);
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function pathOf(stateDir: string): string {
  return join(stateDir, STAND_IN.portFile);
}

function unusable(detail: string): CurfewError {
  return new CurfewError('invalid_config', detail);
}
