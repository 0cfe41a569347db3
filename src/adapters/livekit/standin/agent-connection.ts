/** One connection of an agent: register within its bound, then messages; answers go back in the kind in which it speaks. */
import type { WebSocket } from 'ws';
import type { WorkerId } from '../../../core/ids.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { CHANNEL } from '../../../lib/limits/worker-limits.ts';
import type { FromWorker, ToWorker } from './agent-frames.ts';
import { readFrame, writeFrame } from './agent-frames.ts';

/** RFC 6455: the peer broke a rule. */
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;

export interface AgentConnectionListener {
  /** The first message; whoever hears it welcomes or refuses. */
  register(link: AgentConnection, version: string): void;
  /** It answered a ping. */
  alive(link: AgentConnection): void;
  /** Only after the welcome. */
  message(link: AgentConnection, message: FromWorker): void;
  /** `why` is told once, before the close. */
  refused(link: AgentConnection, why: string): void;
  closed(link: AgentConnection): void;
}

export class AgentConnection {
  readonly workerId: WorkerId;
  readonly #socket: WebSocket;
  readonly #listener: AgentConnectionListener;
  #isBinary = true;
  #isRegistered = false;
  /** What is said before the welcome, which must come first; null after it. */
  #held: ToWorker[] | null = [];
  readonly #registerTimer: NodeJS.Timeout;
  readonly #pingTimer: NodeJS.Timeout;

  constructor(socket: WebSocket, options: { workerId: WorkerId; listener: AgentConnectionListener }) {
    this.workerId = options.workerId;
    this.#socket = socket;
    this.#listener = options.listener;
    this.#registerTimer = setTimeout(
      () => this.refuse(`register within ${CHANNEL.helloMs} ms`),
      CHANNEL.helloMs,
    );
    this.#pingTimer = setInterval(() => this.isOpen && socket.ping(), STAND_IN.pingMs);
    socket.on('pong', () => this.#listener.alive(this));
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    // Errors, too large a frame among them, are followed by 'close'.
    socket.on('error', () => socket.terminate());
    socket.on('close', () => this.#close());
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  welcome(register: ToWorker): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const message of [register, ...held]) this.send(message);
  }

  /** False: it is closed, or the worker does not read and its backlog is full. */
  send(message: ToWorker): boolean {
    if (!this.isOpen) return false;
    if (this.#held !== null) {
      this.#held.push(message);
      return true;
    }
    if (this.#socket.bufferedAmount > CHANNEL.backlogBytes) {
      this.#socket.terminate();
      return false;
    }
    this.#socket.send(writeFrame(message, this.#isBinary));
    return true;
  }

  refuse(why: string): void {
    if (!this.isOpen) return;
    this.#listener.refused(this, why);
    this.#end(POLICY_VIOLATION, why);
  }

  end(why: string): void {
    this.#end(GOING_AWAY, why);
  }

  #end(code: number, why: string): void {
    clearTimeout(this.#registerTimer);
    this.#socket.close(code, why);
    // A peer that never closes its side must not keep ours.
    setTimeout(() => this.#socket.terminate(), CHANNEL.lingerMs).unref();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.isOpen) return;
    const message = readFrame(data, isBinary);
    if (message === null) {
      this.refuse('this is no message of the LiveKit agent protocol');
      return;
    }
    this.#isBinary = isBinary;
    if (this.#isRegistered) this.#hear(message);
    else if (message.case !== 'register') this.refuse('the first message must be register');
    else {
      this.#isRegistered = true;
      clearTimeout(this.#registerTimer);
      this.#listener.register(this, message.value.version.slice(0, STAND_IN.versionChars));
    }
  }

  /** A ping is answered here. */
  #hear(message: FromWorker): void {
    if (message.case === 'ping')
      this.send({
        case: 'pong',
        value: { lastTimestamp: message.value.timestamp, timestamp: BigInt(Date.now()) },
      });
    if (this.#held === null) this.#listener.message(this, message);
  }

  #close(): void {
    clearTimeout(this.#registerTimer);
    clearInterval(this.#pingTimer);
    this.#listener.closed(this);
  }
}
