/** `curfew dev`: a LiveKit server, the supervisor and the example agent on this machine, without a config. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Config } from '../../adapters/config/config.ts';
import { DEFAULT_CONFIG, tempDirOf } from '../../adapters/config/config.ts';
import { resolveLiveKit } from '../../adapters/config/config-file.ts';
import { defaultProfile } from '../../adapters/config/config-schema.ts';
import type { LiveKitKeys } from '../../core/model/profile.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { DEV } from '../../lib/limits/service-limits.ts';
import { PROJECT_ROOT } from '../../lib/project-root.ts';
import { removeStaleSocket } from '../../lib/unix-sockets.ts';
import { freePorts } from './free-ports.ts';
import { startLiveKit } from './livekit-server.ts';

export interface DevOptions {
  /** Runs a supervisor until a signal stops it. Returns the exit code. */
  readonly serve: (config: Config, options: { onReady: () => void }) => Promise<number>;
}

/** The folder, the socket and the TCP port of this run. */
interface Addresses {
  readonly dir: string;
  readonly socket: string;
  readonly httpPort: number;
}

interface LiveKitInUse {
  readonly keys: LiveKitKeys | null;
  /** false: the server of LIVEKIT_URL. The banner then says how to set its webhooks. */
  readonly owned: boolean;
  readonly stop: () => Promise<void>;
}

const INTERRUPTED = 130;

const OTHER_RUN = `This folder already has one, of \`curfew dev\` or \`npm start\`. End it with Ctrl-C, or start this one in another folder: the files go to ${DEV.dir}/ of the folder.`;

/** Runs until Ctrl-C, then releases the calls and stops LiveKit. Rejects `already_running`, `invalid_config`. */
export async function runDev({ serve }: DevOptions): Promise<number> {
  const { signal } = abortOnSignal();
  const addresses = await chooseAddresses();
  const livekit = await findLiveKit(addresses, signal);
  const keysPath = join(addresses.dir, 'dev.json');
  try {
    if (signal.aborted) return INTERRUPTED;
    const onReady = () => {
      // For `npm run call`. Not earlier, because until now this run could lose the socket to another one.
      writeFileSync(keysPath, JSON.stringify({ livekit: livekit.keys }), { mode: 0o600 });
      print(banner(addresses, livekit));
    };
    return await serve(devConfig(addresses, livekit.keys), { onReady });
  } finally {
    rmSync(keysPath, { force: true });
    await livekit.stop();
  }
}

/** For a stop before the supervisor handles signals. A closed terminal is a stop too. */
function abortOnSignal(): AbortController {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  process.on('SIGHUP', () => process.kill(process.pid, 'SIGTERM'));
  // A write to a closed terminal fails. This must not end the process before it has released the calls.
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error');
    stream.on('error', () => undefined);
  }
  return controller;
}

/** Rejects `already_running` when another run uses the folder. */
async function chooseAddresses(): Promise<Addresses> {
  const dir = resolve(DEV.dir);
  const socket = join(dir, 'curfew.sock');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await removeStaleSocket(socket).catch((error: unknown) => {
    throw new CurfewError('already_running', `${socket}: ${messageOf(error)}`, { hint: OTHER_RUN });
  });
  const [httpPort] = await freePorts([DEV.httpPort]);
  return { dir, socket, httpPort };
}

function devConfig({ dir, socket, httpPort }: Addresses, livekit: LiveKitKeys | null): Config {
  const parrot: [string, string] = [process.execPath, join(PROJECT_ROOT, 'examples', 'parrot', 'agent.mjs')];
  return {
    ...DEFAULT_CONFIG,
    livekit,
    listen: { socket, http: { host: '127.0.0.1', port: httpPort } },
    stateDir: join(dir, 'state'),
    tempDir: tempDirOf(process.env),
    agents: {
      // Without it LiveKit's SDK prints debug lines.
      default: { ...defaultProfile('default', parrot, 'curfew'), env: { NODE_ENV: 'production' } },
    },
    log: { level: 'info', format: 'text' },
    logs: { forward: 'off' },
  };
}

/** The server of LIVEKIT_URL, else one that this run starts, else none. Then it prints why, and how to get one. */
async function findLiveKit(addresses: Addresses, signal: AbortSignal): Promise<LiveKitInUse> {
  const stop = async () => undefined;
  const given = resolveLiveKit({}, { env: process.env, folder: '.' });
  if (given !== null) return { keys: given, owned: false, stop };
  try {
    return await startOwnLiveKit(addresses, signal);
  } catch (error) {
    if (!signal.aborted) print(`there is no LiveKit server, so curfew sees no rooms: ${messageOf(error)}`);
    return { keys: null, owned: true, stop };
  }
}

async function startOwnLiveKit(addresses: Addresses, signal: AbortSignal): Promise<LiveKitInUse> {
  const { ensureLiveKitBinary } = (await import(join(PROJECT_ROOT, 'scripts', 'livekit-binary.mjs'))) as {
    ensureLiveKitBinary: (say: (text: string) => void) => Promise<string>;
  };
  const binary = await ensureLiveKitBinary(print);
  const { url, apiKey, apiSecret, stop } = await startLiveKit({
    binary,
    dir: addresses.dir,
    webhookUrl: webhookUrl(addresses),
    signal,
    onLost: print,
  });
  return { keys: { url, apiKey, apiSecret }, owned: true, stop };
}

function webhookUrl({ httpPort }: Addresses): string {
  return `http://127.0.0.1:${httpPort}/webhooks/livekit`;
}

function print(text: string): void {
  process.stderr.write(`curfew: ${text}\n`);
}

function banner(addresses: Addresses, { keys, owned }: LiveKitInUse): string {
  return [
    'running. Ctrl-C releases every call and stops everything.',
    `  LiveKit    ${keys?.url ?? 'none'}`,
    ...(owned && keys !== null
      ? [`             for your own config: key ${keys.apiKey}, secret in ${DEV.dir}/livekit.secret`]
      : []),
    ...(owned ? [] : [`             set its webhooks to ${webhookUrl(addresses)}`]),
    `  HTTP API   http://127.0.0.1:${addresses.httpPort}  (token: ${DEV.dir}/state/admin.token)`,
    '',
    'Now, in another terminal:',
    ...(keys === null ? [] : ['  npm run call                              make a call to the parrot']),
    '  npx curfew dispatch --room hello          start an agent for a room',
    '  npx curfew list                           list the sessions',
    '  npx curfew show ID                        show the state of a session, and why it ended',
    '  npx curfew release ID                     end a session',
  ].join('\n');
}
