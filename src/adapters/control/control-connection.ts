/**
 * One worker's connection: a hello within its bound, then messages.
 * The number of messages per turn of the event loop is bounded, so that a flood does not delay other workers.
 */
import type { Socket } from 'node:net';
import type { WorkerId } from '../../core/ids.ts';
import type { Hello, SupervisorMessage, WorkerMessage } from '../../core/model/control-protocol.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';
import { Throttle } from '../../lib/throttle.ts';
import type { Malformed, Read } from './control-codec.ts';
import { readHello, readWorkerMessage } from './control-codec.ts';
import { LineSplitter } from './line-splitter.ts';

export interface ConnectionListener {
  hello(hello: Hello): Read<WorkerId>;
  message(id: WorkerId, message: WorkerMessage): void;
  malformed(id: WorkerId | null, error: Malformed): void;
  /** Called exactly once. `null`: the connection never sent a valid hello. */
  closed(id: WorkerId | null): void;
}

export class Connection {
  readonly #socket: Socket;
  readonly #listener: ConnectionListener;
  readonly #splitter = new LineSplitter(CHANNEL.lineBytes);
  readonly #lines: string[] = [];
  #worker: WorkerId | null = null;
  #ended = false;
  #reading = false;
  /** Heartbeats that follow too closely add no information. */
  readonly #heartbeats = new Throttle(CHANNEL.heartbeatMinMs);
  #helloTimer: NodeJS.Timeout;

  constructor(socket: Socket, listener: ConnectionListener) {
    this.#socket = socket;
    this.#listener = listener;
    this.#helloTimer = setTimeout(
      () =>
        this.#refuse({ code: 'no_hello', message: `send hello within ${CHANNEL.helloMs} ms`, field: null }),
      CHANNEL.helloMs,
    );
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // 'close' follows each error and does the rest.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#close());
  }

  /** False: the connection is closed, or its backlog is full because the worker does not read. */
  send(message: SupervisorMessage): boolean {
    if (this.#ended || this.#socket.destroyed) return false;
    if (this.#socket.writableLength > CHANNEL.backlogBytes) {
      this.#socket.destroy();
      return false;
    }
    this.#socket.write(`${JSON.stringify(message)}\n`);
    return true;
  }

  end(): void {
    this.#ended = true;
    this.#lines.length = 0;
    this.#socket.end();
    // Because: a peer may never close its side.
    setTimeout(() => this.#socket.destroy(), CHANNEL.lingerMs).unref();
  }

  #receive(chunk: Buffer): void {
    if (this.#ended) return;
    const { lines, fault } = this.#splitter.push(chunk);
    this.#lines.push(...lines);
    if (fault !== null) {
      this.#readAll();
      this.#refuse({ ...fault, field: null });
      return;
    }
    this.#readBatch();
  }

  /** Reads some lines now and the rest in later turns. Meanwhile the socket is paused. */
  #readBatch(): void {
    if (this.#reading) return;
    for (let count = 0; count < CHANNEL.linesPerTurn; count++) {
      const line = this.#lines.shift();
      if (line === undefined) return;
      this.#read(line);
    }
    if (this.#lines.length === 0) return;
    this.#reading = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#reading = false;
      this.#readBatch();
      if (!this.#reading) this.#socket.resume();
    });
  }

  #readAll(): void {
    for (let line = this.#lines.shift(); line !== undefined && !this.#ended; line = this.#lines.shift())
      this.#read(line);
  }

  #read(line: string): void {
    if (this.#ended) return;
    if (this.#worker === null) {
      const hello = readHello(line);
      const verified = hello.ok ? this.#listener.hello(hello.value) : hello;
      if (verified.ok) this.#welcome(verified.value);
      else this.#refuse(verified.error);
      return;
    }
    const message = readWorkerMessage(line);
    if (!message.ok) this.#refuse(message.error);
    else if (message.value.type !== 'heartbeat' || this.#heartbeats.passes())
      this.#listener.message(this.#worker, message.value);
  }

  #welcome(id: WorkerId): void {
    clearTimeout(this.#helloTimer);
    this.#worker = id;
  }

  #refuse(error: Malformed): void {
    if (this.#ended) return;
    this.#listener.malformed(this.#worker, error);
    const { code, message, field } = error;
    this.send({ type: 'error', code, message, field });
    this.end();
  }

  #close(): void {
    clearTimeout(this.#helloTimer);
    this.#ended = true;
    this.#listener.closed(this.#worker);
  }
}
