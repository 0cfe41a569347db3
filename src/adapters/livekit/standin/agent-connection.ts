/** One connection of an agent: register within its bound, then messages. Answers use the agent's own format, binary or text. */
import type { RegisterWorkerRequest } from '@livekit/protocol';
import { JobType } from '@livekit/protocol';
import type { WebSocket } from 'ws';
import type { WorkerId } from '../../../core/ids.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { CHANNEL } from '../../../lib/limits/worker-limits.ts';
import type { FromWorker, ToWorker } from './agent-frames.ts';
import { readFrame, writeFrame } from './agent-frames.ts';

const TOO_LARGE = `its message has more than ${STAND_IN.frameBytes} bytes`;
/** RFC 6455: the peer broke a rule. */
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;

/** Only the Python framework refuses by load, from 1.4 on. All others ask the agent's code at any load. It registers by aiohttp. */
const PYTHON = /\baiohttp\b/i;
const OLD = /^(0|1\.[0-3])(\.|$)/;

export interface AgentConnectionListener {
  /** The first message. The listener answers with `welcome` or `refuse`. */
  register(connection: AgentConnection, version: string): void;
  /** The agent answered a ping. */
  alive(connection: AgentConnection): void;
  /** Called only after the welcome. */
  message(connection: AgentConnection, message: FromWorker): void;
  /** Called once, before the close. */
  refused(connection: AgentConnection, why: string): void;
  closed(connection: AgentConnection): void;
}

/** The access that the launcher gave the agent. `why`: the reason if it is less than the profile grants. */
export interface LauncherReport {
  readonly access: string;
  readonly why: string;
  /** The job that the agent runs; null: none. */
  readonly jobId: string | null;
}

export interface AgentConnectionOptions {
  readonly workerId: WorkerId;
  /** The header of this name. Empty: it has none. */
  readonly userAgent: string;
  readonly launcher: LauncherReport | null;
  readonly listener: AgentConnectionListener;
}

export class AgentConnection {
  readonly workerId: WorkerId;
  /** The launcher's headers of the registration. null: no launcher is loaded in the agent's process. */
  readonly launcher: LauncherReport | null;
  readonly #socket: WebSocket;
  readonly #listener: AgentConnectionListener;
  readonly #userAgent: string;
  /** The agent's own first message. */
  registration: Pick<RegisterWorkerRequest, 'agentName' | 'allowedPermissions' | 'type' | 'version'> = {
    agentName: '',
    type: JobType.JT_ROOM,
    version: '',
  };
  #isBinary = true;
  #isRegistered = false;
  /** Messages that wait for the welcome, because it must be sent first. `null`: the welcome was sent. */
  #queued: ToWorker[] | null = [];
  readonly #registerTimer: NodeJS.Timeout;
  readonly #pingTimer: NodeJS.Timeout;

  constructor(socket: WebSocket, options: AgentConnectionOptions) {
    this.workerId = options.workerId;
    this.launcher = options.launcher;
    this.#userAgent = options.userAgent;
    this.#socket = socket;
    this.#listener = options.listener;
    this.#registerTimer = setTimeout(
      () => this.refuse(`register within ${CHANNEL.helloMs} ms`),
      CHANNEL.helloMs,
    );
    this.#pingTimer = setInterval(() => this.isOpen && socket.ping(), STAND_IN.pingMs);
    socket.on('pong', () => this.#listener.alive(this));
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    // 'close' follows each error, for example a frame that is too large.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') this.#listener.refused(this, TOO_LARGE);
      socket.terminate();
    });
    socket.on('close', () => this.#close());
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** The framework may refuse a job by its own measure of load, without a question to the agent's code. */
  get refusesByLoad(): boolean {
    return PYTHON.test(this.#userAgent) && !OLD.test(this.registration.version);
  }

  welcome(register: ToWorker): void {
    const queued = this.#queued ?? [];
    this.#queued = null;
    for (const message of [register, ...queued]) this.send(message);
  }

  /** False: the connection is closed, or its backlog is full because the worker does not read. */
  send(message: ToWorker): boolean {
    if (!this.isOpen) return false;
    if (this.#queued !== null) {
      this.#queued.push(message);
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
    // Because: a peer may never close its side.
    setTimeout(() => this.#socket.terminate(), CHANNEL.lingerMs).unref();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.isOpen) return;
    const message = readFrame(data, isBinary);
    if (message === null) {
      this.refuse('the frame is not a message of the LiveKit agent protocol');
      return;
    }
    this.#isBinary = isBinary;
    if (this.#isRegistered) this.#handle(message);
    else if (message.case !== 'register') this.refuse('the first message must be register');
    else {
      this.#isRegistered = true;
      clearTimeout(this.#registerTimer);
      this.registration = message.value;
      this.#listener.register(this, message.value.version.slice(0, STAND_IN.versionChars));
    }
  }

  /** Answers pings itself and passes every message on. */
  #handle(message: FromWorker): void {
    if (message.case === 'ping')
      this.send({
        case: 'pong',
        value: { lastTimestamp: message.value.timestamp, timestamp: BigInt(Date.now()) },
      });
    if (this.#queued === null) this.#listener.message(this, message);
  }

  #close(): void {
    clearTimeout(this.#registerTimer);
    clearInterval(this.#pingTimer);
    this.#listener.closed(this);
  }
}
