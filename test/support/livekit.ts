/** A real LiveKit server on free ports, and what a test may do to it. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VideoGrant } from 'livekit-server-sdk';
import { AccessToken, RoomServiceClient } from 'livekit-server-sdk';
import { stringify } from 'yaml';
import { findLiveKitBinary } from '../../scripts/livekit-binary.mjs';
import { until } from './wait.ts';

export const KEY = 'devkey';
export const SECRET = 'test-secret-that-is-long-enough-for-hs256';

/** Said by a test that cannot run without a server; CI never gets here. */
export const HAS_LIVEKIT = findLiveKitBinary() !== null;

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() =>
        address !== null && typeof address === 'object'
          ? resolve(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}

export class LiveKit {
  readonly port: number;
  readonly webhookPort: number;
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-livekit-'));
  readonly #configPath = join(this.#dir, 'livekit.yaml');
  #child: ChildProcess | null = null;

  private constructor(ports: { http: number; tcp: number; udp: number; webhook: number }) {
    this.port = ports.http;
    this.webhookPort = ports.webhook;
    const config = {
      port: ports.http,
      bind_addresses: ['127.0.0.1'],
      keys: { [KEY]: SECRET },
      rtc: {
        tcp_port: ports.tcp,
        udp_port: ports.udp,
        use_external_ip: false,
        enable_loopback_candidate: true,
        stun_servers: ['127.0.0.1:3478'],
      },
      webhook: { api_key: KEY, urls: [`http://127.0.0.1:${ports.webhook}/webhooks/livekit`] },
      logging: { level: 'error' },
    };
    writeFileSync(this.#configPath, stringify(config));
  }

  /** `webhookPort` is where a curfew of the test should listen for HTTP. */
  static async start(): Promise<LiveKit> {
    const [http, tcp, udp, webhook] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const server = new LiveKit({ http, tcp, udp, webhook });
    await server.boot();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  get rooms(): RoomServiceClient {
    return new RoomServiceClient(`http://127.0.0.1:${this.port}`, KEY, SECRET);
  }

  /** The `livekit` and `listen` sections of a curfew config that sees this server's webhooks. */
  config(socket: string): Record<string, unknown> {
    return {
      livekit: { url: this.url, api_key: KEY, api_secret: SECRET },
      listen: { socket, http: `127.0.0.1:${this.webhookPort}` },
    };
  }

  async boot(): Promise<void> {
    const child = spawn(
      findLiveKitBinary() ?? 'livekit-server',
      ['--config', this.#configPath, '--node-ip', '127.0.0.1'],
      { stdio: 'ignore' },
    );
    this.#child = child;
    process.once('exit', this.#killNow);
    await until('LiveKit answers', async () => (await fetch(`http://127.0.0.1:${this.port}/`)).ok, 20_000);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await until('LiveKit is gone', () => child.signalCode !== null || child.exitCode !== null);
  }

  async close(): Promise<void> {
    await this.kill();
    process.removeListener('exit', this.#killNow);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  token(
    room: string,
    who: { identity: string; kind?: string; attributes?: Record<string, string>; grant?: VideoGrant },
  ): Promise<string> {
    const token = new AccessToken(KEY, SECRET, { identity: who.identity, ttl: 3600 });
    if (who.kind !== undefined) Object.assign(token, { kind: who.kind });
    if (who.attributes !== undefined) token.attributes = who.attributes;
    token.addGrant({ room, roomJoin: true, canPublish: true, canSubscribe: true, ...who.grant });
    return token.toJwt();
  }

  readonly #killNow = () => {
    this.#child?.kill('SIGKILL');
  };
}
