/** A LiveKit server for development, a child of ours: it goes when we go, however we go. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pTimeout from 'p-timeout';
import { stringify } from 'yaml';
import { messageOf } from '../../lib/errors.ts';
import { DEV } from '../../lib/limits/service-limits.ts';
import { freePorts } from './free-ports.ts';

export interface DevLiveKit {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
  stop(): Promise<void>;
}

export interface DevLiveKitOptions {
  readonly binary: string;
  /** Where its config, its secret and its log are kept. */
  readonly dir: string;
  readonly webhookUrl: string;
  /** Gives up starting. */
  readonly signal: AbortSignal;
  /** It ended although nobody stopped it. */
  readonly onLost: (why: string) => void;
}

/** What is settled for one attempt. */
interface Attempt extends DevLiveKitOptions {
  readonly ports: { readonly http: number; readonly tcp: number; readonly udp: number };
  readonly apiSecret: string;
}

/** Rejects with its last words when it does not come up; then it is gone. A port may be lost to another program meanwhile: then it is tried on others. */
export async function startLiveKit(options: DevLiveKitOptions): Promise<DevLiveKit> {
  const apiSecret = secretOf(options.dir);
  for (let attempt = 1; ; attempt += 1) {
    const first = DEV.livekitPort;
    const [http, tcp, udp] = await freePorts([first, first + 1, first + 2]);
    try {
      return await tryToStart({ ...options, apiSecret, ports: { http, tcp, udp } });
    } catch (error) {
      if (attempt === DEV.livekitAttempts || options.signal.aborted) throw error;
    }
  }
}

/** One for each folder, so that a server that took our port is never taken for ours, and a restart knows the tokens of before. */
function secretOf(dir: string): string {
  const path = join(dir, 'livekit.secret');
  if (!existsSync(path)) writeFileSync(path, randomBytes(24).toString('base64url'), { mode: 0o600 });
  return readFileSync(path, 'utf8');
}

async function tryToStart(options: Attempt): Promise<DevLiveKit> {
  const { ports, apiSecret } = options;
  const child = launch(options);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  try {
    await comesUp(child, options);
  } catch (error) {
    await end(child, ended);
    throw error;
  }
  const lost = () => options.onLost(`livekit-server ended; see ${logOf(options)}`);
  child.once('exit', lost);
  return {
    url: `ws://127.0.0.1:${ports.http}`,
    apiKey: DEV.apiKey,
    apiSecret,
    stop: () => {
      child.off('exit', lost);
      return end(child, ended);
    },
  };
}

function launch(options: Attempt): ChildProcess {
  const { binary, dir } = options;
  const configPath = join(dir, 'livekit.yaml');
  writeFileSync(configPath, stringify(serverConfig(options)), { mode: 0o600 });
  const log = openSync(logOf({ dir }), 'w', 0o600);
  // A session of its own: Ctrl-C in the terminal must not end it before the calls are released.
  const child = spawn(binary, ['--config', configPath, '--node-ip', '127.0.0.1'], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  endWithThisProcess(child);
  return child;
}

/** Nothing but loopback: no STUN, no external address. */
function serverConfig({ ports, apiSecret, webhookUrl }: Attempt): Record<string, unknown> {
  return {
    port: ports.http,
    bind_addresses: ['127.0.0.1'],
    keys: { [DEV.apiKey]: apiSecret },
    rtc: {
      tcp_port: ports.tcp,
      udp_port: ports.udp,
      use_external_ip: false,
      enable_loopback_candidate: true,
      stun_servers: ['127.0.0.1:3478'],
    },
    webhook: { api_key: DEV.apiKey, urls: [webhookUrl] },
    logging: { level: 'warn' },
  };
}

function logOf({ dir }: { dir: string }): string {
  return join(dir, 'livekit.log');
}

/** Also after SIGKILL: our end of the pipe closes, and the keeper ends the server. */
function endWithThisProcess(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const keeper = spawn('sh', ['-c', 'read -r _; kill -9 "$1"', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  keeper.once('error', () => undefined);
  keeper.stdin.on('error', () => undefined);
  child.once('exit', () => keeper.kill('SIGKILL'));
}

async function comesUp(child: ChildProcess, options: Attempt): Promise<void> {
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) =>
      reject(new Error(`${options.binary} could not be started: ${messageOf(error)}`)),
    );
    child.once('exit', () => reject(new Error(`livekit-server ended at once: ${lastWords(options)}`)));
  });
  // After the race is won its end is told by onLost.
  failed.catch(() => undefined);
  await Promise.race([answers(options), failed]);
}

function lastWords(options: Attempt): string {
  const line = readFileSync(logOf(options), 'utf8').trim().split('\n').at(-1) ?? '';
  return line.slice(-DEV.lastWordsChars) || `it said nothing in ${logOf(options)}`;
}

/** It is up when it knows our secret. */
async function answers({ ports, apiSecret, signal, dir }: Attempt): Promise<void> {
  const { RoomServiceClient } = await import('livekit-server-sdk');
  const rooms = new RoomServiceClient(`http://127.0.0.1:${ports.http}`, DEV.apiKey, apiSecret, {
    requestTimeout: DEV.livekitStartMs / 1000,
    failover: false,
  });
  for (const untilMs = performance.now() + DEV.livekitStartMs; performance.now() < untilMs; ) {
    signal.throwIfAborted();
    const known = await rooms.listRooms().then(
      () => true,
      () => false,
    );
    if (known) return;
    await pause(DEV.probeMs);
  }
  throw new Error(`livekit-server did not answer within ${DEV.livekitStartMs} ms; see ${logOf({ dir })}`);
}

/** One SIGTERM makes it wait for its participants to go, a second one does not. */
async function end(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const again = setTimeout(() => child.kill('SIGTERM'), DEV.livekitForceMs);
  const last = setTimeout(() => child.kill('SIGKILL'), DEV.livekitStopMs);
  // What even SIGKILL does not end, the kernel holds: nothing to wait for.
  await pTimeout(ended, { milliseconds: 2 * DEV.livekitStopMs, fallback: () => undefined });
  clearTimeout(again);
  clearTimeout(last);
}
