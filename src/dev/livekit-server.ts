/** A LiveKit server for development, a child of ours: it goes when we go. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { messageOf } from '../errors.ts';
import { DEV } from '../limits.ts';

export interface DevLiveKit {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
  stop(): Promise<void>;
}

/** Rejects with its last words when it does not come up. Source: the reference on a server without a network. */
export async function startLiveKit(options: {
  binary: string;
  dir: string;
  webhookUrl: string;
}): Promise<DevLiveKit> {
  const [port, tcpPort] = [await freePort(DEV.livekitPort), await freePort(DEV.livekitPort + 1)];
  const configPath = join(options.dir, 'livekit.yaml');
  const config = {
    port,
    bind_addresses: ['127.0.0.1'],
    keys: { [DEV.apiKey]: DEV.apiSecret },
    rtc: {
      tcp_port: tcpPort,
      udp_port: await freePort(DEV.livekitPort + 2),
      use_external_ip: false,
      enable_loopback_candidate: true,
      stun_servers: ['127.0.0.1:3478'],
    },
    webhook: { api_key: DEV.apiKey, urls: [options.webhookUrl] },
    logging: { level: 'warn' },
  };
  writeFileSync(configPath, stringify(config), { mode: 0o600 });
  const log = openSync(join(options.dir, 'livekit.log'), 'w');
  // A group of its own: Ctrl-C in the terminal must not end it before the calls are released.
  const child = spawn(options.binary, ['--config', configPath, '--node-ip', '127.0.0.1'], {
    stdio: ['ignore', log, log],
    detached: true,
  });
  const stopNow = () => child.kill('SIGKILL');
  process.once('exit', stopNow);
  await comesUp(child, port);
  return {
    url: `ws://127.0.0.1:${port}`,
    apiKey: DEV.apiKey,
    apiSecret: DEV.apiSecret,
    stop: async () => {
      await end(child);
      process.off('exit', stopNow);
    },
  };
}

async function comesUp(child: ChildProcess, port: number): Promise<void> {
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) =>
      reject(new Error(`livekit-server could not be started: ${messageOf(error)}`)),
    );
    child.once('exit', (code) => reject(new Error(`livekit-server ended with ${code}; see livekit.log`)));
  });
  await Promise.race([answers(port), failed]);
  failed.catch(() => undefined);
}

async function answers(port: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < DEV.livekitStartMs; waitedMs += DEV.probeMs) {
    const answer = await fetch(`http://127.0.0.1:${port}/`, {
      signal: AbortSignal.timeout(DEV.livekitStartMs),
    }).catch(() => null);
    if (answer?.ok) return;
    await pause(DEV.probeMs);
  }
  throw new Error(`livekit-server did not answer within ${DEV.livekitStartMs} ms; see livekit.log`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), DEV.livekitStopMs);
  await gone;
  clearTimeout(timer);
}

/** The wanted port, or any free one. */
export async function freePort(wanted: number): Promise<number> {
  return (await tryPort(wanted)) ?? (await tryPort(0)) ?? wanted;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(null));
    probe.listen(port, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? null) : null));
    });
  });
}
