/** The control socket: newline-delimited JSON, one connection per worker. A newer connection replaces the older one. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { chmodSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { WorkerId } from '../../core/ids.ts';
import { workerId } from '../../core/ids.ts';
import type { Hello, SupervisorMessage } from '../../core/model/control-protocol.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { CONNECTION_SHARES, LISTEN_BACKLOG } from '../../lib/limits/worker-limits.ts';
import { mostConnections, removeStaleSocket } from '../../lib/unix-sockets.ts';
import type { Channels, ChannelsListener } from '../../ports/channels.ts';
import type { Instance } from '../../ports/instance.ts';
import type { Log } from '../../ports/log.ts';
import type { Malformed, Read } from './control-codec.ts';
import { Connection } from './control-connection.ts';
import { RefusalLog } from './refusal-log.ts';

export function createChannels(options: { instance: Instance; log: Log; socketPath: string }): Channels {
  const server = new ControlServer(options);
  return {
    socketPath: options.socketPath,
    listen: (listener) => server.listen(listener),
    tokenFor: (id) => tokenFor(options.instance, id),
    send: (id, message) => server.send(id, message),
    close: () => server.close(),
  };
}

/** Derives the token from the master key. So it stays valid over a restart, and no file stores it. */
function tokenFor({ masterKey }: Instance, id: WorkerId): string {
  return createHmac('sha256', masterKey).update(`control:${id}`).digest('base64url');
}

class ControlServer {
  readonly #instance: Instance;
  readonly #refusalLog: RefusalLog;
  readonly #socketPath: string;
  readonly #connections = new Set<Connection>();
  readonly #byWorker = new Map<WorkerId, Connection>();
  #server: Server | null = null;
  #listener: ChannelsListener | null = null;

  constructor(options: { instance: Instance; log: Log; socketPath: string }) {
    this.#instance = options.instance;
    this.#refusalLog = new RefusalLog(options.log);
    this.#socketPath = options.socketPath;
  }

  async listen(listener: ChannelsListener): Promise<void> {
    this.#listener = listener;
    const server = createServer((socket) => this.#accept(socket));
    server.maxConnections = mostConnections(CONNECTION_SHARES.control);
    await listenOn(server, this.#socketPath);
    this.#server = server;
  }

  send(id: WorkerId, message: SupervisorMessage): boolean {
    return this.#byWorker.get(id)?.send(message) ?? false;
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.end();
    const server = this.#server;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    const connection: Connection = new Connection(socket, {
      hello: (hello) => this.#hello(connection, hello),
      message: (id, message) => this.#listener?.message(id, message),
      malformed: (id, error) => this.#refusalLog.add(id, error),
      closed: (id) => this.#connectionClosed(connection, id),
    });
    this.#connections.add(connection);
  }

  #connectionClosed(connection: Connection, id: WorkerId | null): void {
    this.#connections.delete(connection);
    // The worker has a newer connection, so it is still connected.
    if (id === null || this.#byWorker.get(id) !== connection) return;
    this.#byWorker.delete(id);
    this.#listener?.closed(id);
  }

  /** Returns the worker that the hello proves, or the reason for the refusal. */
  #hello(connection: Connection, hello: Hello): Read<WorkerId> {
    const id = this.#verify(hello);
    if (!id.ok) return id;
    const older = this.#byWorker.get(id.value);
    this.#byWorker.set(id.value, connection);
    if (this.#listener?.hello(id.value, hello.kit?.name) === true) {
      older?.end();
      return id;
    }
    if (older === undefined) this.#byWorker.delete(id.value);
    else this.#byWorker.set(id.value, older);
    return refused('unknown_worker', 'no session of this supervisor has this worker now', 'worker');
  }

  #verify(hello: Hello): Read<WorkerId> {
    const [instance, name, ...rest] = hello.worker.split('/');
    if (instance === undefined || name === undefined || rest.length > 0)
      return refused('malformed', 'worker: must be INSTANCE/WORKER, as in CURFEW_WORKER', 'worker');
    if (instance !== this.#instance.id)
      return refused('other_instance', 'this worker belongs to another instance', 'worker');
    const id = workerId(name);
    const expected = Buffer.from(tokenFor(this.#instance, id));
    const given = Buffer.from(hello.token);
    const same = expected.length === given.length && timingSafeEqual(expected, given);
    return same
      ? { ok: true, value: id }
      : refused(
          'wrong_token',
          'this is not the token of this worker; use the value of CURFEW_TOKEN',
          'token',
        );
  }
}

function refused(code: string, message: string, field: string): { ok: false; error: Malformed } {
  return { ok: false, error: { code, message, field } };
}

/** Rejects already_running or invalid_config. */
async function listenOn(server: Server, path: string): Promise<void> {
  try {
    await removeStaleSocket(path);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, backlog: LISTEN_BACKLOG }, resolve);
    });
    chmodSync(path, 0o600);
  } catch (error) {
    throw new CurfewError(
      'invalid_config',
      `state_dir: cannot listen on the control socket "${path}": ${messageOf(error)}`,
    );
  }
}
