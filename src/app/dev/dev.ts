/** `curfew dev`: a LiveKit server, the supervisor and the example agent, on this machine, with nothing to configure. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Config } from '../../adapters/config/config.ts';
import { DEFAULT_CONFIG } from '../../adapters/config/config.ts';
import { resolveLiveKit } from '../../adapters/config/config-file.ts';
import { defaultProfile } from '../../adapters/config/config-schema.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { DEV } from '../../lib/limits/service-limits.ts';
import { PROJECT_ROOT } from '../../lib/project-root.ts';
import { removeStaleSocket } from '../../lib/unix-sockets.ts';
import { freePorts } from './free-ports.ts';
import { startLiveKit } from './livekit-server.ts';

export interface DevOptions {
  /** Runs a supervisor until a signal stops it; its exit code. */
  readonly serve: (config: Config, options: { onReady: () => void }) => Promise<number>;
}

type LiveKitAccess = Config['livekit'];

/** Where this run keeps its things, and the port that it takes. */
interface Place {
  readonly dir: string;
  readonly socket: string;
  readonly httpPort: number;
}

interface LiveKitInUse {
  readonly access: LiveKitAccess;
  /** Who started it: we say what to do where it is not ours. */
  readonly owned: boolean;
  readonly stop: () => Promise<void>;
}

const INTERRUPTED = 130;

/** Until Ctrl-C: the calls are released first, then LiveKit is stopped. Rejects already_running, invalid_config. */
export async function runDev({ serve }: DevOptions): Promise<number> {
  const { signal } = stopAsked();
  const place = await settle();
  const livekit = await findLiveKit(place, signal);
  const notePath = join(place.dir, 'dev.json');
  try {
    if (signal.aborted) return INTERRUPTED;
    const onReady = () => {
      // For `npm run call`. Only here: until now another run could have been the one.
      writeFileSync(notePath, JSON.stringify({ livekit: livekit.access }), { mode: 0o600 });
      print(banner(place, livekit));
    };
    return await serve(devConfig(place, livekit.access), { onReady });
  } finally {
    rmSync(notePath, { force: true });
    await livekit.stop();
  }
}

/** A stop that comes before the supervisor listens for signals. A closed terminal is a stop too. */
function stopAsked(): AbortController {
  const asked = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => asked.abort());
  process.on('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
  // What is written to a terminal that is gone is lost, and no reason to leave calls behind.
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error');
    stream.on('error', () => undefined);
  }
  return asked;
}

async function settle(): Promise<Place> {
  const dir = resolve(DEV.dir);
  const socket = join(dir, 'curfew.sock');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await removeStaleSocket(socket).catch((error: unknown) => {
    throw new CurfewError('already_running', `${socket}: ${messageOf(error)}`);
  });
  const [httpPort] = await freePorts([DEV.httpPort]);
  return { dir, socket, httpPort };
}

function devConfig({ dir, socket, httpPort }: Place, livekit: LiveKitAccess): Config {
  const parrot: [string, string] = [process.execPath, join(PROJECT_ROOT, 'examples', 'parrot', 'agent.mjs')];
  return {
    ...DEFAULT_CONFIG,
    livekit,
    listen: { socket, http: { host: '127.0.0.1', port: httpPort } },
    stateDir: join(dir, 'state'),
    agents: {
      // LiveKit's SDK prints its debug lines otherwise.
      default: { ...defaultProfile('default', parrot), protocol: 'curfew', env: { NODE_ENV: 'production' } },
    },
    log: { level: 'info', format: 'text' },
  };
}

/** LIVEKIT_URL with its keys, else a server of our own, else none: then it says how to get one. */
async function findLiveKit(place: Place, signal: AbortSignal): Promise<LiveKitInUse> {
  const stop = async () => undefined;
  const given = resolveLiveKit({}, { env: process.env, folder: '.' });
  if (given !== null) return { access: given, owned: false, stop };
  try {
    return await ownLiveKit(place, signal);
  } catch (error) {
    if (!signal.aborted) print(`no LiveKit server, so no rooms and no presence: ${messageOf(error)}`);
    return { access: null, owned: true, stop };
  }
}

async function ownLiveKit(place: Place, signal: AbortSignal): Promise<LiveKitInUse> {
  const { ensureLiveKitBinary } = (await import(join(PROJECT_ROOT, 'scripts', 'livekit-binary.mjs'))) as {
    ensureLiveKitBinary: (say: (text: string) => void) => Promise<string>;
  };
  const binary = await ensureLiveKitBinary(print);
  const { url, apiKey, apiSecret, stop } = await startLiveKit({
    binary,
    dir: place.dir,
    webhookUrl: webhookUrl(place),
    signal,
    onLost: print,
  });
  return { access: { url, apiKey, apiSecret }, owned: true, stop };
}

function webhookUrl({ httpPort }: Place): string {
  return `http://127.0.0.1:${httpPort}/webhooks/livekit`;
}

function print(text: string): void {
  process.stderr.write(`curfew: ${text}\n`);
}

function banner(place: Place, { access, owned }: LiveKitInUse): string {
  return [
    'running. Ctrl-C releases every call and stops everything.',
    `  LiveKit    ${access?.url ?? 'none'}`,
    ...(owned && access !== null
      ? [`             for a config of your own: key ${access.apiKey}, secret in ${DEV.dir}/livekit.secret`]
      : []),
    ...(owned ? [] : [`             let it send its webhooks to ${webhookUrl(place)}`]),
    `  HTTP API   http://127.0.0.1:${place.httpPort}  (token: ${DEV.dir}/state/admin.token)`,
    '',
    'Now, in another terminal:',
    ...(access === null ? [] : ['  npm run call                              make a call to the parrot']),
    '  npx curfew dispatch --room hello          start an agent for a room',
    '  npx curfew list                           what is running',
    '  npx curfew show ID                        the story of a session',
    '  npx curfew release ID                     end it',
  ].join('\n');
}
