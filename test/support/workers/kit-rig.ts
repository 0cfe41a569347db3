/** The real control socket with programs of the kits as clients, and a record of their messages. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { createChannels } from '../../../src/adapters/control/control-server.ts';
import { openInstance } from '../../../src/adapters/registry/instance-dir.ts';
import { createLog } from '../../../src/adapters/telemetry/pino-log.ts';
import { workerId } from '../../../src/core/ids.ts';
import type { WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { Channels } from '../../../src/ports/channels.ts';
import { ROOT } from '../daemon/daemon.ts';

export const KIT_WORKER = workerId('s-1.1');
const JOB = { session: 's-1', room: 'front desk', attempt: 2, metadata: { lang: 'de' } };
const HEARTBEAT_MS = 100;

/** One control server in the supervisor's place, and the messages that it received. */
export interface KitServer {
  readonly channels: Channels;
  readonly received: WorkerMessage[];
  readonly events: string[];
  /** The client's name in each hello. */
  readonly kits: (string | undefined)[];
}

interface Program {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
}

export const receivedTypes = (server: KitServer) => server.received.map((message) => message.type);

export class KitRig {
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-kit-'));
  readonly #opened = openInstance(this.#dir);
  readonly #servers: Channels[] = [];
  readonly #children: ChildProcess[] = [];
  readonly socketPath = join(this.#dir, 'control.sock');

  /** `accepts`: the later types of messages that the server takes; absent: as 0.1.0. */
  async listen(accepts?: readonly string[]): Promise<KitServer> {
    const channels = this.#channels(this.socketPath);
    const server: KitServer = { channels, received: [], events: [], kits: [] };
    this.#servers.push(channels);
    await channels.listen({
      hello: (id, kit) => {
        server.events.push('hello');
        server.kits.push(kit);
        queueMicrotask(() =>
          channels.send(id, {
            type: 'welcome',
            v: 1,
            heartbeatMs: HEARTBEAT_MS,
            job: JOB,
            ...(accepts && { accepts: [...accepts] }),
          }),
        );
        return id === KIT_WORKER;
      },
      message: (_id, message) => server.received.push(message),
      closed: () => server.events.push('closed'),
    });
    return server;
  }

  /** Starts a program as a worker. `file`: its path, or its name in test/fixtures/kits. */
  start(command: string, file: string, env: Record<string, string> = {}): Program {
    const own = {
      CURFEW_SOCKET: this.socketPath,
      CURFEW_WORKER: `${this.#opened.instance.id}/${KIT_WORKER}`,
      CURFEW_TOKEN: this.#channels('').tokenFor(KIT_WORKER),
      CURFEW_SESSION_ID: 's-1',
      CURFEW_ROOM: 'front desk',
    };
    const path = isAbsolute(file) ? file : join(ROOT, 'test/fixtures/kits', file);
    const child = spawn(command, [path], {
      env: { PATH: process.env.PATH ?? '', ...own, ...env },
    });
    this.#children.push(child);
    const output = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => {
      output.out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output.err += chunk.toString();
    });
    return { child, out: () => output.out, err: () => output.err };
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(this.#servers.map((server) => server.close()));
    this.#opened.release();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #channels(socketPath: string): Channels {
    const log = createLog({ level: 'silent', format: 'text' });
    return createChannels({ instance: this.#opened.instance, log, socketPath });
  }
}
