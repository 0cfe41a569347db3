/** `curfew dev`: a LiveKit server, the supervisor and the example agent, on this machine, with nothing to configure. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/config.ts';
import { DEFAULT_CONFIG } from '../config/config.ts';
import { defaultProfile } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { DEV } from '../limits.ts';
import { freePort, startLiveKit } from './livekit-server.ts';

export interface DevOptions {
  readonly serve: (config: Config, onReady: () => void) => Promise<number>;
}

interface LiveKitInUse {
  readonly access: NonNullable<Config['livekit']>;
  readonly stop: () => Promise<void>;
}

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export async function runDev({ serve }: DevOptions): Promise<number> {
  const dir = resolve(DEV.dir);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const httpPort = await freePort(DEV.httpPort);
  const livekit = await findLiveKit(dir, httpPort);
  const devPath = join(dir, 'dev.json');
  writeFileSync(devPath, JSON.stringify({ livekit: livekit?.access ?? null }), { mode: 0o600 });
  try {
    return await serve(devConfig({ dir, httpPort, livekit: livekit?.access ?? null }), () =>
      print(banner({ httpPort, livekit: livekit?.access ?? null })),
    );
  } finally {
    await livekit?.stop();
    rmSync(devPath, { force: true });
  }
}

function devConfig({
  dir,
  httpPort,
  livekit,
}: {
  dir: string;
  httpPort: number;
  livekit: Config['livekit'];
}): Config {
  return {
    ...DEFAULT_CONFIG,
    livekit,
    listen: { socket: join(dir, 'curfew.sock'), http: { host: '127.0.0.1', port: httpPort } },
    stateDir: join(dir, 'state'),
    agents: {
      default: {
        ...defaultProfile('default', [process.execPath, join(ROOT, 'examples', 'parrot', 'agent.mjs')]),
        protocol: 'curfew',
      },
    },
    log: { level: 'info', format: 'text' },
  };
}

/** LIVEKIT_URL with its keys, else a server of our own, else none: then it says how to get one. */
async function findLiveKit(dir: string, httpPort: number): Promise<LiveKitInUse | null> {
  const { LIVEKIT_URL: url, LIVEKIT_API_KEY: apiKey, LIVEKIT_API_SECRET: apiSecret } = process.env;
  if (url && apiKey && apiSecret) return { access: { url, apiKey, apiSecret }, stop: async () => undefined };
  try {
    const { ensureLiveKitBinary } = (await import(join(ROOT, 'scripts', 'livekit-binary.mjs'))) as {
      ensureLiveKitBinary: (say: (text: string) => void) => Promise<string>;
    };
    const binary = await ensureLiveKitBinary(print);
    const server = await startLiveKit({
      binary,
      dir,
      webhookUrl: `http://127.0.0.1:${httpPort}/webhooks/livekit`,
    });
    return {
      access: { url: server.url, apiKey: server.apiKey, apiSecret: server.apiSecret },
      stop: () => server.stop(),
    };
  } catch (error) {
    print(`no LiveKit server, so no rooms and no presence: ${messageOf(error)}`);
    return null;
  }
}

function print(text: string): void {
  process.stderr.write(`curfew: ${text}\n`);
}

function banner({ httpPort, livekit }: { httpPort: number; livekit: Config['livekit'] }): string {
  return [
    'running. Ctrl-C releases every call and stops everything.',
    `  LiveKit    ${livekit?.url ?? 'none'}`,
    `  HTTP API   http://127.0.0.1:${httpPort}  (token: ${DEV.dir}/state/admin.token)`,
    '',
    'Now, in another terminal:',
    ...(livekit === null ? [] : ['  npm run call                              make a call to the parrot']),
    '  npx curfew dispatch --room hello          start an agent for a room',
    '  npx curfew list                           what is running',
    '  npx curfew show ID                        the story of a session',
  ].join('\n');
}
