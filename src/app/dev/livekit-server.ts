/** A LiveKit server for development, as a child process. It ends with this process, even after SIGKILL. */
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
  /** Folder for the server's config, secret and log. */
  readonly dir: string;
  readonly webhookUrl: string;
  /** Stops a start that is under way. */
  readonly signal: AbortSignal;
  /** The server ended without a call of `stop`. */
  readonly onLost: (why: string) => void;
}

/** The options of one attempt to start. */
interface Attempt extends DevLiveKitOptions {
  readonly ports: { readonly http: number; readonly tcp: number; readonly udp: number };
  readonly apiSecret: string;
}

/**
 * Resolves when the server answers. Rejects with its last log line when it does not; then the process is gone.
 * Race: another program may take a port before the server does. Then the next attempt uses other ports.
 */
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

/**
 * One secret per folder. A foreign server on the same port does not know the secret, so it does not count as ready.
 * Tokens stay valid after a restart.
 */
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
    await waitUntilReady(child, options);
  } catch (error) {
    await stopServer(child, ended);
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
      return stopServer(child, ended);
    },
  };
}

function launch(options: Attempt): ChildProcess {
  const { binary, dir } = options;
  const configPath = join(dir, 'livekit.yaml');
  writeFileSync(configPath, stringify(serverConfig(options)), { mode: 0o600 });
  const log = openSync(logOf({ dir }), 'w', 0o600);
  // Detached: Ctrl-C in the terminal must not end the server before the calls are released.
  const child = spawn(binary, ['--config', configPath, '--node-ip', '127.0.0.1'], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  endWithThisProcess(child);
  return child;
}

/** Loopback only: no STUN, no external address. */
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

/** Works after SIGKILL too: the kernel closes this process's end of the pipe, and the shell then kills the server. */
function endWithThisProcess(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const watcher = spawn('sh', ['-c', 'read -r _; kill -9 "$1"', 'sh', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watcher.once('error', () => undefined);
  watcher.stdin.on('error', () => undefined);
  child.once('exit', () => watcher.kill('SIGKILL'));
}

async function waitUntilReady(child: ChildProcess, options: Attempt): Promise<void> {
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) =>
      reject(new Error(`${options.binary} could not be started: ${messageOf(error)}`)),
    );
    child.once('exit', () => reject(new Error(`livekit-server ended at once: ${lastLogLine(options)}`)));
  });
  // A later exit rejects too, and nothing awaits this promise then; onLost reports that exit.
  failed.catch(() => undefined);
  await Promise.race([answers(options), failed]);
}

function lastLogLine(options: Attempt): string {
  const line = readFileSync(logOf(options), 'utf8').trim().split('\n').at(-1) ?? '';
  return line.slice(-DEV.lastLineChars) || `its log ${logOf(options)} is empty`;
}

/** Resolves when the server accepts this run's secret. Rejects after `livekitStartMs`. */
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

/** After one SIGTERM the server waits until its participants leave. After a second one it does not. */
async function stopServer(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const again = setTimeout(() => child.kill('SIGTERM'), DEV.livekitForceMs);
  const last = setTimeout(() => child.kill('SIGKILL'), DEV.livekitStopMs);
  // Bounded: a process that survives SIGKILL hangs in the kernel, and waiting longer does not help.
  await pTimeout(ended, { milliseconds: 2 * DEV.livekitStopMs, fallback: () => undefined });
  clearTimeout(again);
  clearTimeout(last);
}
