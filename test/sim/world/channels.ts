/** The Channels port of one supervisor, with the workers' ends of its connections. */
import type { WorkerId } from '../../../src/core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { Channels, ChannelsListener } from '../../../src/ports/channels.ts';
import type { Life } from './life.ts';
import { never } from './life.ts';
import type { World } from './world.ts';

/** A worker's end of a connection. */
export interface Peer {
  readonly workerId: WorkerId;
  readonly token: string;
  /** The client's own name in its hello. */
  readonly kit?: string;
  hear(message: SupervisorMessage): void;
  /** The next three: what a LiveKit agent hears from the stand-in. */
  offered(): void;
  admitted(token: string, session: string): void;
  terminated(): void;
  /** The connection is gone, or was refused. */
  lost(): void;
}

export interface Connection {
  readonly peer: Peer;
  open: boolean;
  /** The arrival times of the last messages in each direction. A later message never arrives earlier. */
  sentMs: number;
  heardMs: number;
}

export interface MessageWatch {
  delivered(id: WorkerId, message: WorkerMessage): void;
  accepted(id: WorkerId): void;
}

export function tokenOf(id: WorkerId): string {
  return `token-of-${id}`;
}

export class SimChannels implements Channels {
  readonly socketPath = '/state/control.sock';
  readonly #world: World;
  readonly #life: Life;
  readonly #watch: MessageWatch;
  readonly #byWorker = new Map<WorkerId, Connection>();
  readonly #all = new Set<Connection>();
  #listener: ChannelsListener | null = null;

  constructor(world: World, life: Life, watch: MessageWatch) {
    this.#world = world;
    this.#life = life;
    this.#watch = watch;
  }

  listen(listener: ChannelsListener): Promise<void> {
    if (this.#life.dead('listen')) return never();
    this.#listener = listener;
    return Promise.resolve();
  }

  tokenFor(workerId: WorkerId): string {
    return tokenOf(workerId);
  }

  send(workerId: WorkerId, message: SupervisorMessage): boolean {
    return this.tell(workerId, `hears ${message.type}`, (peer) => peer.hear(message));
  }

  /** false: the worker has no connection. */
  tell(workerId: WorkerId, what: string, act: (peer: Peer) => void): boolean {
    if (this.#life.dead(`before ${workerId} ${what}`)) return false;
    const connection = this.#byWorker.get(workerId);
    if (connection?.open !== true) return false;
    connection.heardMs = Math.max(
      connection.heardMs + 0.01,
      this.#world.nowMs + this.#world.random.wait(2, 80),
    );
    this.#world.after(connection.heardMs - this.#world.nowMs, {
      place: 'host',
      what: `${workerId} ${what}`,
      run: () => act(connection.peer),
    });
    this.#life.dead(`after ${workerId} ${what}`);
    return true;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A worker connects and says hello; null: no supervisor listens. */
  connect(peer: Peer): Connection | null {
    if (!this.#life.alive || this.#listener === null) return null;
    const connection: Connection = { peer, open: true, sentMs: 0, heardMs: 0 };
    this.#all.add(connection);
    this.#deliver(connection, `hello of ${peer.workerId}`, () => this.#hello(connection));
    return connection;
  }

  sendFromWorker(connection: Connection, message: WorkerMessage): void {
    const id = connection.peer.workerId;
    if (!connection.open) return;
    this.#deliver(connection, `${id} says ${message.type}`, () => {
      if (!connection.open || this.#life.dead(`a message of ${id}`)) return;
      this.#watch.delivered(id, message);
      this.#listener?.message(id, message);
    });
  }

  /** Something else that the worker sends. */
  deliver(connection: Connection, what: string, run: () => void): void {
    this.#deliver(connection, what, () => {
      if (connection.open && !this.#life.dead(what)) run();
    });
  }

  /** The worker closes its end. */
  hangUp(connection: Connection): void {
    const id = connection.peer.workerId;
    this.#deliver(connection, `the connection of ${id} closes`, () => {
      connection.open = false;
      this.#all.delete(connection);
      if (this.#byWorker.get(id) !== connection) return;
      this.#byWorker.delete(id);
      this.#listener?.closed(id);
    });
  }

  /** The supervisor is gone, and its connections close. */
  lose(): void {
    for (const connection of this.#all) this.#drop(connection);
    this.#byWorker.clear();
  }

  #hello(connection: Connection): void {
    const id = connection.peer.workerId;
    if (this.#life.dead(`hello of ${id}`)) return;
    const older = this.#byWorker.get(id);
    this.#byWorker.set(id, connection);
    if (connection.peer.token === tokenOf(id) && this.#listener?.hello(id, connection.peer.kit) === true) {
      if (older !== undefined) this.#drop(older);
      this.#watch.accepted(id);
      return;
    }
    if (older === undefined) this.#byWorker.delete(id);
    else this.#byWorker.set(id, older);
    this.#drop(connection);
  }

  #drop(connection: Connection): void {
    this.#all.delete(connection);
    if (!connection.open) return;
    connection.open = false;
    this.#world.after(this.#world.random.wait(2, 50), {
      place: 'host',
      what: `${connection.peer.workerId} loses its connection`,
      run: () => connection.peer.lost(),
    });
  }

  #deliver(connection: Connection, what: string, run: () => void): void {
    const { random, nowMs } = this.#world;
    connection.sentMs = Math.max(connection.sentMs + 0.01, nowMs + random.wait(2, 80));
    this.#world.after(connection.sentMs - nowMs, { place: 'supervisor', what, life: this.#life, run });
  }
}
