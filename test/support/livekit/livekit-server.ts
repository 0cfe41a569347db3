/** A real LiveKit server on free ports. A test can suspend, kill and restart it. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VideoGrant } from 'livekit-server-sdk';
import { AccessToken, AgentDispatchClient, RoomServiceClient } from 'livekit-server-sdk';
import { stringify } from 'yaml';
import { findLiveKitBinary } from '../../../scripts/livekit-binary.mjs';
import { freePorts } from '../lib/free-ports.ts';
import { until } from '../lib/wait.ts';
import { endWithThisProcess } from '../processes/keeper.ts';
import { suspend } from '../processes/test-processes.ts';

export const KEY = 'devkey';
export const SECRET = 'test-secret-that-is-long-enough-for-hs256';

/** Another pair of keys that each server knows, for agents that have keys of their own. */
export const OTHER = { key: 'otherkey', secret: 'another-secret-that-is-long-enough-for-hs256' } as const;

/** False: tests that need a server are skipped. In CI there always is one. */
export const HAS_LIVEKIT = findLiveKitBinary() !== null;

/** Race: another program can take a port between its choice and its use. After a restart a port is busy for a moment. */
const BOOT_ATTEMPTS = 3;

export interface LiveKitOptions {
  /** At `info` the log shows the end of each job, which no call of the API shows. */
  readonly logLevel: 'error' | 'info';
}

export class LiveKit {
  readonly port: number;
  readonly webhookPort: number;
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-livekit-'));
  readonly #configPath = join(this.#dir, 'livekit.yaml');
  readonly #logPath = join(this.#dir, 'livekit.log');
  #child: ChildProcess | null = null;

  private constructor(
    ports: { http: number; tcp: number; udp: number; webhook: number },
    { logLevel }: LiveKitOptions,
  ) {
    this.port = ports.http;
    this.webhookPort = ports.webhook;
    const config = {
      port: ports.http,
      bind_addresses: ['127.0.0.1'],
      keys: { [KEY]: SECRET, [OTHER.key]: OTHER.secret },
      rtc: {
        tcp_port: ports.tcp,
        udp_port: ports.udp,
        use_external_ip: false,
        enable_loopback_candidate: true,
        stun_servers: ['127.0.0.1:3478'],
      },
      webhook: { api_key: KEY, urls: [`http://127.0.0.1:${ports.webhook}/webhooks/livekit`] },
      logging: { level: logLevel },
    };
    writeFileSync(this.#configPath, stringify(config));
  }

  /** `webhookPort` is the port on which a curfew of the test must listen for HTTP. */
  static async start(options: LiveKitOptions = { logLevel: 'error' }): Promise<LiveKit> {
    const [http = 0, tcp = 0, udp = 0, webhook = 0] = await freePorts(4);
    const server = new LiveKit({ http, tcp, udp, webhook }, options);
    await server.boot();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  get dispatches(): AgentDispatchClient {
    return new AgentDispatchClient(`http://127.0.0.1:${this.port}`, KEY, SECRET);
  }

  /** The log since the last boot. */
  get log(): string {
    return readFileSync(this.#logPath, 'utf8');
  }

  get rooms(): RoomServiceClient {
    return new RoomServiceClient(`http://127.0.0.1:${this.port}`, KEY, SECRET);
  }

  /** The sections `livekit` and `listen` of a curfew config that receives this server's webhooks. */
  config(socket: string): Record<string, unknown> {
    return {
      livekit: { url: this.url, api_key: KEY, api_secret: SECRET },
      listen: { socket, http: `127.0.0.1:${this.webhookPort}` },
    };
  }

  /** Starts the server, also again on the same ports. */
  async boot(): Promise<void> {
    for (let attempt = 1; attempt <= BOOT_ATTEMPTS; attempt += 1) {
      const child = this.#spawn();
      const ended = () => child.exitCode !== null || child.signalCode !== null;
      await until('LiveKit answers', async () => ended() || (await this.#answers()), 20_000);
      if (!ended()) return;
    }
    throw new Error(`LiveKit ended while it started: ${readFileSync(this.#logPath, 'utf8').slice(-500)}`);
  }

  #spawn(): ChildProcess {
    const log = openSync(this.#logPath, 'w');
    const args = ['--config', this.#configPath, '--node-ip', '127.0.0.1'];
    const child = spawn(findLiveKitBinary() ?? 'livekit-server', args, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    endWithThisProcess(child);
    return child;
  }

  async #answers(): Promise<boolean> {
    return (await fetch(`http://127.0.0.1:${this.port}/`, { signal: AbortSignal.timeout(1000) })).ok;
  }

  /** The server answers nothing from the return of this until `resume`. */
  async suspend(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('LiveKit does not run');
    await suspend(pid);
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await until('LiveKit is gone', () => child.signalCode !== null || child.exitCode !== null);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  token(
    room: string,
    participant: { identity: string; kind?: string; attributes?: Record<string, string>; grant?: VideoGrant },
  ): Promise<string> {
    const token = new AccessToken(KEY, SECRET, { identity: participant.identity, ttl: 3600 });
    if (participant.kind !== undefined) Object.assign(token, { kind: participant.kind });
    if (participant.attributes !== undefined) token.attributes = participant.attributes;
    token.addGrant({ room, roomJoin: true, canPublish: true, canSubscribe: true, ...participant.grant });
    return token.toJwt();
  }
}
