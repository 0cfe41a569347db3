/** A LiveKit server for development, a child of ours: it goes when we go, however we go. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pTimeout from 'p-timeout';
import { stringify } from 'yaml';
import { messageOf } from '../errors.ts';
import { DEV } from '../limits.ts';

export interface DevLiveKit {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
  stop(): Promise<void>;
}

export interface DevLiveKitOptions {
  readonly binary: string;
  /** Where its config and its log are written. */
  readonly dir: string;
  readonly ports: { readonly http: number; readonly tcp: number; readonly udp: number };
  readonly webhookUrl: string;
  /** Gives up starting. */
  readonly signal: AbortSignal;
  /** It ended although nobody stopped it. */
  readonly onLost: (why: string) => void;
}

/** Rejects with its last words when it does not come up within DEV.livekitStartMs; then it is gone. */
export async function startLiveKit(options: DevLiveKitOptions): Promise<DevLiveKit> {
  const { ports } = options;
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
    apiSecret: DEV.apiSecret,
    stop: () => {
      child.off('exit', lost);
      return end(child, ended);
    },
  };
}

function launch({ binary, dir, ports, webhookUrl }: DevLiveKitOptions): ChildProcess {
  const configPath = join(dir, 'livekit.yaml');
  writeFileSync(configPath, stringify(serverConfig(ports, webhookUrl)), { mode: 0o600 });
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
function serverConfig(ports: DevLiveKitOptions['ports'], webhookUrl: string): Record<string, unknown> {
  return {
    port: ports.http,
    bind_addresses: ['127.0.0.1'],
    keys: { [DEV.apiKey]: DEV.apiSecret },
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

async function comesUp(child: ChildProcess, options: DevLiveKitOptions): Promise<void> {
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

function lastWords(options: DevLiveKitOptions): string {
  const line = readFileSync(logOf(options), 'utf8').trim().split('\n').at(-1) ?? '';
  return line.slice(-DEV.lastWordsChars) || `it said nothing in ${logOf(options)}`;
}

async function answers(options: DevLiveKitOptions): Promise<void> {
  for (let waitedMs = 0; waitedMs < DEV.livekitStartMs; waitedMs += DEV.probeMs) {
    options.signal.throwIfAborted();
    const answer = await fetch(`http://127.0.0.1:${options.ports.http}/`, {
      signal: AbortSignal.timeout(DEV.livekitStartMs),
    }).catch(() => null);
    if (answer?.ok) return;
    await pause(DEV.probeMs);
  }
  throw new Error(`livekit-server did not answer within ${DEV.livekitStartMs} ms; see ${logOf(options)}`);
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
