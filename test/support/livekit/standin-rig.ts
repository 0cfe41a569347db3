/** The stand-in with a test in the supervisor's place, and scripted agents that can send anything. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JobType, ServerMessage, WorkerMessage } from '@livekit/protocol';
import { AccessToken } from 'livekit-server-sdk';
import { WebSocket } from 'ws';
import { createStandIn } from '../../../src/adapters/livekit/standin/standin-server.ts';
import { openInstance } from '../../../src/adapters/registry/instance-dir.ts';
import type { WorkerId } from '../../../src/core/ids.ts';
import { workerId } from '../../../src/core/ids.ts';
import type { AgentAnswer } from '../../../src/core/model/agent-answer.ts';
import type { WorkerMessage as ControlMessage } from '../../../src/core/model/control-protocol.ts';
import type { LiveKitAccess } from '../../../src/core/model/profile.ts';
import type { Instance } from '../../../src/ports/instance.ts';
import type { Log } from '../../../src/ports/log.ts';
import type { AgentAccess, StandIn, StandInJob } from '../../../src/ports/stand-in.ts';
import { until } from '../lib/wait.ts';

export type AgentMessage = NonNullable<ConstructorParameters<typeof WorkerMessage>[0]>['message'];
/** A message of a worker, or a change of its connection. */
export type StandInEvent = ControlMessage | 'hello' | 'gone';

const ACCESS: AgentAccess = { url: 'ws://livekit.example:7880', token: 'a-token-for-one-room' };
const NOWHERE = { url: 'ws://127.0.0.1:9', apiKey: 'devkey', apiSecret: 'no-secret-that-anybody-knows-here' };

export class StandInRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'curfew-standin-'));
  readonly livekit: { url: string; apiKey: string; apiSecret: string };
  readonly port: number;
  /** The workers of this supervisor, and the rooms of each. */
  readonly rooms = new Map<string, readonly string[]>();
  readonly events: { worker: WorkerId; what: StandInEvent }[] = [];
  /** The lines that curfew writes to the logs of its workers. */
  readonly notes: { worker: WorkerId; line: string }[] = [];
  access: LiveKitAccess = 'room';
  agentName: string | null = null;
  readonly logged: { fields: object; message: string }[] = [];
  readonly instance: Instance;
  standIn: StandIn;
  readonly answers: { worker: WorkerId; answer: AgentAnswer }[] = [];
  readonly #access = new Map<WorkerId, AgentAccess>();
  onHello: (worker: WorkerId) => void = () => undefined;
  readonly #release: () => void;
  readonly #agents: WireAgent[] = [];

  constructor({ livekit = NOWHERE, port = 0 }: { livekit?: typeof NOWHERE; port?: number } = {}) {
    this.livekit = livekit;
    this.port = port;
    ({ instance: this.instance, release: this.#release } = openInstance(join(this.dir, 'state')));
    this.standIn = this.make();
    for (const name of ['w-1', 'w-2']) this.know(name);
  }

  /** Adds a worker to this supervisor and makes the worker's folder. */
  know(name: string, rooms: readonly string[] = [`room-${name}`]): WorkerId {
    this.rooms.set(name, rooms);
    mkdirSync(join(this.instance.workersDir, name), { recursive: true });
    return workerId(name);
  }

  /** Offers the job, and admits the agent when it accepts. */
  assign(worker: WorkerId, job: StandInJob, access = ACCESS): boolean {
    this.#access.set(worker, access);
    return this.standIn.offer(worker, job);
  }

  make(): StandIn {
    const note = (fields: object, message: string) => void this.logged.push({ fields, message });
    const log: Log = { debug: note, info: note, warn: note, error: note };
    return createStandIn({
      instance: this.instance,
      log,
      livekit: this.livekit,
      port: this.port,
      livekitOf: () => null,
      readEnvFile: () => Promise.resolve({}),
    });
  }

  async listen(): Promise<this> {
    await this.standIn.listen({
      hello: (worker) => {
        const known = this.rooms.has(worker);
        if (known) this.events.push({ worker, what: 'hello' });
        this.onHello(worker);
        return known;
      },
      message: (worker, what) => void this.events.push({ worker, what }),
      closed: (worker) => void this.events.push({ worker, what: 'gone' }),
      answered: (worker, answer) => {
        this.answers.push({ worker, answer });
        if (answer.kind === 'accepted') this.standIn.admit(worker, this.#access.get(worker) ?? ACCESS);
      },
      roomsOf: (worker) => this.rooms.get(worker) ?? [],
      accessOf: () => this.access,
      agentNameOf: () => this.agentName,
      note: (worker, line) => void this.notes.push({ worker, line }),
    });
    return this;
  }

  /** Closes the stand-in and opens it again, as a restart of the supervisor does. */
  async restart(): Promise<void> {
    await this.standIn.close();
    this.standIn = this.make();
    await this.listen();
  }

  eventsOf(name: string): StandInEvent[] {
    return this.events.filter((one) => one.worker === name).map((one) => one.what);
  }

  typesOf(name: string): string[] {
    return this.eventsOf(name).map((what) => (typeof what === 'string' ? what : what.type));
  }

  awaitEvent(name: string, type: string, boundMs?: number): Promise<StandInEvent> {
    return until(
      `${type} of ${name}`,
      () => this.eventsOf(name).find((what) => what === type || (what as ControlMessage).type === type),
      boundMs,
    );
  }

  async token(name: string, changes: { agent?: boolean; apiSecret?: string; ttl?: number } = {}) {
    const { apiKey, apiSecret } = this.standIn.keysFor(workerId(name));
    const token = new AccessToken(apiKey, changes.apiSecret ?? apiSecret, { ttl: changes.ttl ?? 60 });
    token.addGrant({ agent: changes.agent ?? true });
    return token.toJwt();
  }

  async agent(
    name = 'w-1',
    options: {
      isText?: boolean;
      token?: string;
      path?: string;
      launcher?: 'full' | 'room';
      why?: string;
      jobId?: string;
      userAgent?: string;
    } = {},
  ) {
    const token = options.token ?? (await this.token(name));
    const agent = new WireAgent(`${this.standIn.url}${options.path ?? '/agent'}`, token, options);
    this.#agents.push(agent);
    return agent;
  }

  /** An agent that is connected and registered. */
  async registered(
    name = 'w-1',
    options: {
      isText?: boolean;
      launcher?: 'full' | 'room';
      why?: string;
      jobId?: string;
      userAgent?: string;
      version?: string;
    } = {},
  ): Promise<WireAgent> {
    const agent = await this.agent(name, options);
    await agent.opened();
    agent.register(options.version);
    await agent.receives('register');
    return agent;
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) agent.socket.terminate();
    await this.standIn.close();
    this.#release();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export class WireAgent {
  readonly socket: WebSocket;
  readonly received: ServerMessage['message'][] = [];
  /** Code and reason of the close, or an HTTP status; `null`: still open. */
  ended: { code: number; reason: string } | null = null;
  readonly #isText: boolean;

  /** `launcher`: the access that the launcher's header names. */
  constructor(
    url: string,
    token: string,
    {
      isText = false,
      launcher,
      why = '',
      jobId = '',
      userAgent,
    }: { isText?: boolean; launcher?: string; why?: string; jobId?: string; userAgent?: string } = {},
  ) {
    this.#isText = isText;
    const header =
      launcher === undefined
        ? {}
        : { 'x-curfew-access': launcher, 'x-curfew-why': why, 'x-curfew-job': jobId };
    const agent = userAgent === undefined ? {} : { 'user-agent': userAgent };
    this.socket = new WebSocket(url, { headers: { authorization: `Bearer ${token}`, ...header, ...agent } });
    this.socket.on('error', () => undefined);
    this.socket.on('unexpected-response', (_, response) => {
      this.ended = { code: response.statusCode ?? 0, reason: '' };
      this.socket.terminate();
    });
    this.socket.on('close', (code, reason) => {
      this.ended ??= { code, reason: reason.toString() };
    });
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      const message = isBinary
        ? ServerMessage.fromBinary(data)
        : ServerMessage.fromJsonString(data.toString());
      if (isBinary !== this.#isText) this.received.push(message.message);
    });
  }

  opened(): Promise<unknown> {
    return until('the agent is connected', () => this.socket.readyState === WebSocket.OPEN);
  }

  closed(): Promise<{ code: number; reason: string }> {
    return until('the agent is closed', () => this.ended);
  }

  send(message: AgentMessage): void {
    const frame = new WorkerMessage(message === undefined ? {} : { message });
    this.socket.send(this.#isText ? frame.toJsonString() : frame.toBinary());
  }

  register(version = '9.9.9', agentName = '', type = JobType.JT_ROOM): void {
    this.send({ case: 'register', value: { agentName, version, type } });
  }

  answer(jobId: string, available = true, more: { participantMetadata?: string } = {}): void {
    this.send({
      case: 'availability',
      value: { jobId, available, participantIdentity: 'an-identity-of-the-agent', ...more },
    });
  }

  count(kind: ServerMessage['message']['case']): number {
    return this.received.filter((one) => one.case === kind).length;
  }

  async receives<K extends NonNullable<ServerMessage['message']['case']>>(
    kind: K,
    nth = 1,
  ): Promise<Extract<ServerMessage['message'], { case: K }>['value']> {
    const found = await until(
      `${kind} number ${nth}`,
      () => this.received.filter((one) => one.case === kind)[nth - 1],
    );
    return found.value as never;
  }
}

export function jobOf(changes: Partial<StandInJob> = {}): StandInJob {
  return {
    id: 'AJ_1',
    message: { room: { name: 'room-w-1', sid: 'RM_1' } },
    metadata: '{"a":1}',
    attributes: { tier: 'gold' },
    agentName: 'greeter',
    ...changes,
  };
}
