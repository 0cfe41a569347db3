/** Helpers of several benches: a socket for messages of workers, and a fake LiveKit that knows the time of its assignments. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerMessage, WorkerMessage } from '@livekit/protocol';
import type { RawData, WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { freePorts } from '../test/support/lib/free-ports.ts';
import { until } from '../test/support/lib/wait.ts';

/** A Unix socket that notes each line of the workers and its time. */
export class MessageSocket {
  readonly path: string;
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  readonly #arrived = new Map<string, number>();
  readonly #waiting = new Map<string, (atMs: number) => void>();
  readonly #server: Server;

  constructor() {
    this.path = join(this.#dir, 'e.sock');
    this.#server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        const atMs = performance.now();
        for (const line of chunk.toString().split('\n').filter(Boolean)) this.#note(line, atMs);
      });
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  #note(line: string, atMs: number): void {
    this.#arrived.set(line, atMs);
    this.#waiting.get(line)?.(atMs);
  }

  /** Time of the line on the clock of `performance.now()`. Waits for it. */
  arrived(line: string): Promise<number> {
    const atMs = this.#arrived.get(line);
    return atMs === undefined
      ? new Promise((resolve) => this.#waiting.set(line, resolve))
      : Promise.resolve(atMs);
  }

  close(): void {
    this.#server.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** LiveKit's `/agent` endpoint. It answers in the worker's kind of frame: binary or JSON. */
export class FakeLiveKit {
  readonly access: { readonly url: string; readonly api_key: string; readonly api_secret: string };
  readonly #server: WebSocketServer;
  readonly #answers = new Map<string, (available: boolean) => void>();
  #worker: { readonly socket: WebSocket; readonly isBinary: boolean } | null = null;

  private constructor(port: number) {
    this.access = {
      url: `ws://127.0.0.1:${port}`,
      api_key: 'key',
      api_secret: 'a secret that is long enough',
    };
    this.#server = new WebSocketServer({ port, host: '127.0.0.1', path: '/agent' });
    this.#server.on('connection', (socket) => {
      socket.on('message', (data, isBinary) => this.#hear(socket, data, isBinary));
    });
  }

  static async start(): Promise<FakeLiveKit> {
    const [port = 0] = await freePorts(1);
    return new FakeLiveKit(port);
  }

  async registered(): Promise<void> {
    await until('a worker is registered', () => this.#worker !== null, 60_000);
  }

  /** Offers a job and assigns it at once. Rejects when the worker refuses it. */
  async offer(
    { id, room }: { id: string; room: string },
    access: { readonly token: string; readonly url?: string } = { token: 'token' },
  ): Promise<{ answeredMs: number; assignedAtMs: number }> {
    const job = { id, type: 'JT_ROOM', room: { name: room, sid: `RM_${id}` } };
    const offeredMs = performance.now();
    const answer = new Promise<boolean>((resolve) => this.#answers.set(id, resolve));
    this.#send({ availability: { job } });
    if (!(await answer)) throw new Error(`job ${id} was refused`);
    const assignedAtMs = performance.now();
    this.#send({ assignment: { job, ...access } });
    return { answeredMs: assignedAtMs - offeredMs, assignedAtMs };
  }

  terminate(jobId: string): void {
    this.#send({ termination: { jobId } });
  }

  close(): void {
    this.#server.close();
    for (const client of this.#server.clients) client.terminate();
  }

  #hear(socket: WebSocket, data: RawData, isBinary: boolean): void {
    const { message } = isBinary
      ? WorkerMessage.fromBinary(data as Buffer)
      : WorkerMessage.fromJsonString(String(data), { ignoreUnknownFields: true });
    if (message.case === 'register') {
      this.#worker = { socket, isBinary };
      this.#send({ register: { workerId: 'AW_bench', serverInfo: { agentProtocol: 1, protocol: 16 } } });
    }
    if (message.case === 'availability') this.#answers.get(message.value.jobId)?.(message.value.available);
  }

  #send(message: object): void {
    if (this.#worker === null) throw new Error('no worker is registered');
    const { socket, isBinary } = this.#worker;
    const frame = ServerMessage.fromJson(message as never);
    socket.send(isBinary ? frame.toBinary() : frame.toJsonString());
  }
}

/** `median ms (least to most)`. */
export function medianText(timesMs: readonly number[]): string {
  const sorted = [...timesMs].sort((a, b) => a - b).map((ms) => ms.toFixed(0));
  return `${sorted[Math.floor(sorted.length / 2)]} ms (${sorted[0]} to ${sorted.at(-1)})`;
}
