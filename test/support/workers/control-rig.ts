/** The control socket with a test in the supervisor's place, and clients that can send anything. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createChannels } from '../../../src/adapters/control/control-server.ts';
import { openInstance } from '../../../src/adapters/registry/instance-dir.ts';
import type { WorkerId } from '../../../src/core/ids.ts';
import { workerId } from '../../../src/core/ids.ts';
import type { WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { Channels } from '../../../src/ports/channels.ts';
import type { Instance } from '../../../src/ports/instance.ts';
import { until } from '../lib/wait.ts';

/** A message of a worker, or a change of its connection. */
export interface ControlEvent {
  readonly worker: WorkerId;
  readonly what: WorkerMessage | 'hello' | 'closed';
}

export interface Client {
  readonly socket: Socket;
  readonly send: (text: string | Uint8Array) => void;
  /** The received lines, parsed. */
  readonly lines: () => Record<string, unknown>[];
  readonly isClosed: () => boolean;
}

export class ControlRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'curfew-control-'));
  readonly socketPath = join(this.dir, 'control.sock');
  readonly events: ControlEvent[] = [];
  /** The fields of the warnings in the log. */
  readonly warnings: object[] = [];
  readonly instance: Instance;
  readonly channels: Channels;
  /** The workers of this supervisor. */
  readonly known = new Set<string>(['w-1', 'w-2']);
  /** The rig does not keep the messages of these workers. */
  readonly ignored = new Set<string>();
  readonly #release: () => void;
  readonly #clients: Socket[] = [];

  constructor() {
    ({ instance: this.instance, release: this.#release } = openInstance(join(this.dir, 'state')));
    this.channels = this.channelsAt(this.socketPath);
  }

  channelsAt(socketPath: string): Channels {
    const silent = () => undefined;
    const warn = (fields: object) => void this.warnings.push(fields);
    const log = { debug: silent, info: silent, warn, error: silent };
    return createChannels({ instance: this.instance, log, socketPath });
  }

  async listen(): Promise<this> {
    await this.channels.listen({
      hello: (worker) => {
        if (!this.known.has(worker)) return false;
        this.events.push({ worker, what: 'hello' });
        return true;
      },
      message: (worker, what) => {
        if (!this.ignored.has(worker)) this.events.push({ worker, what });
      },
      closed: (worker) => this.events.push({ worker, what: 'closed' }),
    });
    return this;
  }

  connect(): Client {
    const socket = createConnection(this.socketPath);
    this.#clients.push(socket);
    let text = '';
    let closed = false;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      closed = true;
    });
    return {
      socket,
      send: (given) => void socket.write(given),
      lines: () =>
        text
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      isClosed: () => closed,
    };
  }

  hello(name = 'w-1', changes: object = {}): string {
    const token = this.channels.tokenFor(workerId(name));
    return line({ type: 'hello', v: 1, worker: `${this.instance.id}/${name}`, token, ...changes });
  }

  /** The messages of one worker and the changes of its connection, in order. */
  eventsOf(name: string): ControlEvent['what'][] {
    return this.events.filter((one) => one.worker === name).map((one) => one.what);
  }

  /** A worker that has said hello. */
  async greeted(name = 'w-1'): Promise<Client> {
    const hellos = () => this.eventsOf(name).filter((one) => one === 'hello').length;
    const client = this.connect();
    const before = hellos();
    client.send(this.hello(name));
    await until('hello', () => hellos() > before);
    return client;
  }

  async close(): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    await this.channels.close();
    this.#release();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function line(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}
