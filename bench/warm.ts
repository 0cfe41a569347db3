/** How soon a call has its worker: by HTTP and by LiveKit's assignment, warm and cold, and until the agent is in the room. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import type { CapacityView } from '../src/api.ts';
import { Daemon, ROOT } from '../test/support/daemon.ts';
import { LiveKit } from '../test/support/livekit.ts';
import { freePorts } from '../test/support/ports.ts';
import { until } from '../test/support/wait.ts';

const ROUNDS = 200;
const JOINS = 30;
const WARM = 4;
const WORKER = [process.execPath, join(ROOT, 'bench/warm-worker.mjs')];

export interface Took {
  readonly what: string;
  readonly ms: readonly number[];
  readonly goal: string;
}

/** Hears what the workers say, and when. */
class Ear {
  readonly path: string;
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  readonly #heard = new Map<string, number>();
  readonly #waiting = new Map<string, (atMs: number) => void>();
  readonly #server: Server;

  constructor() {
    this.path = join(this.#dir, 'e.sock');
    this.#server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        const atMs = performance.now();
        for (const line of chunk.toString().split('\n').filter(Boolean)) this.#hear(line, atMs);
      });
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  #hear(line: string, atMs: number): void {
    this.#heard.set(line, atMs);
    this.#waiting.get(line)?.(atMs);
  }

  /** When it was said. */
  said(line: string): Promise<number> {
    const atMs = this.#heard.get(line);
    return atMs === undefined
      ? new Promise((resolve) => this.#waiting.set(line, resolve))
      : Promise.resolve(atMs);
  }

  close(): void {
    this.#server.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function daemonWith(agent: object, more: object, dir?: string): Daemon {
  const built = join(ROOT, 'dist/main.js');
  return new Daemon({
    main: existsSync(built) ? built : undefined,
    ...(dir === undefined ? {} : { dir }),
    config: {
      log: { level: 'warn' },
      limits: { sessions: 2000, start_rate: '10000/s', per_user: 'off' },
      agents: { default: { command: WORKER, protocol: 'curfew', ...agent } },
      ...more,
    },
  });
}

async function ready(daemon: Daemon): Promise<void> {
  const isReady = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.warm[0]?.ready === WARM;
  await until('the pool is full', isReady, 60_000);
}

/** One call after the other, each with a full pool, so that nothing is measured but the path of a call. */
export async function measureHttp({ warm }: { warm: boolean }): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const daemon = daemonWith({ warm: warm ? WARM : 0, env: { BENCH_SOCKET: ear.path } }, {});
  const took: number[] = [];
  try {
    await daemon.start();
    for (let round = 0; round < (warm ? ROUNDS : JOINS); round++) {
      if (warm) await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      took.push((await ear.said(`job r${round}`)) - fromMs);
      await daemon.release(body.id);
    }
  } finally {
    await daemon.close();
    ear.close();
  }
  return warm
    ? { what: 'HTTP dispatch → job in a warm worker', ms: took, goal: 'p50 ≤ 3, p99 ≤ 10' }
    : { what: 'HTTP dispatch → job in a cold Node worker', ms: took, goal: '' };
}

/** LiveKit's part is played, so that the moment of its assignment is known. */
export async function measureJobs(): Promise<readonly Took[]> {
  const ear = new Ear();
  await ear.listen();
  const [port = 0] = await freePorts(1);
  const server = new WebSocketServer({ port, host: '127.0.0.1', path: '/agent' });
  const heard = new Map<string, (message: Record<string, unknown>) => void>();
  const connected = new Promise<WebSocket>((resolve) => {
    server.on('connection', (socket) => {
      socket.on('message', (data) => {
        const message = JSON.parse(String(data)) as Record<string, Record<string, unknown>>;
        if (message.register !== undefined) {
          socket.send(
            JSON.stringify({ register: { workerId: 'AW_bench', serverInfo: { agentProtocol: 1 } } }),
          );
          resolve(socket);
        }
        const { availability } = message;
        if (availability !== undefined) heard.get(String(availability.jobId))?.(availability);
      });
    });
  });
  const livekit = {
    url: `ws://127.0.0.1:${port}`,
    api_key: 'key',
    api_secret: 'a secret that is long enough',
  };
  const agent = { warm: WARM, agent_name: 'voice', env: { BENCH_SOCKET: ear.path } };
  const daemon = daemonWith(agent, { livekit, presence: { poll_interval: '1h' } });
  const [answered, assigned]: [number[], number[]] = [[], []];
  try {
    await daemon.start();
    const socket = await connected;
    for (let round = 0; round < ROUNDS; round++) {
      await ready(daemon);
      const job = { id: `AJ_${round}`, type: 'JT_ROOM', room: { name: `r${round}`, sid: `RM_${round}` } };
      const offeredMs = performance.now();
      const answer = new Promise<Record<string, unknown>>((resolve) => heard.set(job.id, resolve));
      socket.send(JSON.stringify({ availability: { job } }));
      if ((await answer).available !== true) throw new Error(`job ${job.id} was refused`);
      const assignedMs = performance.now();
      answered.push(assignedMs - offeredMs);
      socket.send(JSON.stringify({ assignment: { job, token: 'token' } }));
      assigned.push((await ear.said(`job r${round}`)) - assignedMs);
      await daemon.release(job.id);
    }
  } finally {
    await daemon.close();
    server.close();
    for (const client of server.clients) client.terminate();
    ear.close();
  }
  return [
    { what: 'LiveKit offers a job → it is accepted', ms: answered, goal: 'well below 3000' },
    { what: 'LiveKit assigns it → job in a warm worker', ms: assigned, goal: 'p50 ≤ 1.5, p99 ≤ 5' },
  ];
}

/** With a real server, until the agent is in its room. */
export async function measureJoin(): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const agent = { warm: WARM, env: { BENCH_SOCKET: ear.path, BENCH_JOIN: '1' } };
  const daemon = daemonWith(agent, livekit.config(join(dir, 'c.sock')), dir);
  const took: number[] = [];
  try {
    await daemon.start();
    for (let round = 0; round < JOINS; round++) {
      await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      took.push((await ear.said(`joined r${round}`)) - fromMs);
      await daemon.release(body.id);
      await daemon.ended(body.id);
    }
  } finally {
    await daemon.close();
    await livekit.close();
    ear.close();
  }
  return { what: 'HTTP dispatch → agent connected to its room', ms: took, goal: '≤ 120' };
}
