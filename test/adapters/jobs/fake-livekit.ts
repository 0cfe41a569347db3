/** A fake server that speaks LiveKit's agent protocol as correctly or as wrongly as a test needs. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';

export const REGISTERED = {
  register: { workerId: 'AW_1', serverInfo: { agentProtocol: 1, version: '9.9' } },
};

/** An offer as LiveKit sends it, without the empty fields. */
export const offerOf = (id: string, more: object = {}) => ({
  availability: { job: { id, room: { name: 'r', sid: 'RM_1' }, ...more } },
});

export class Peer {
  readonly frames: Record<string, unknown>[] = [];
  readonly authorization: string;
  readonly path: string;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.#socket = socket;
    this.authorization = request.headers.authorization ?? '';
    this.path = request.url ?? '';
    socket.on('error', () => undefined);
    socket.on('message', (data) => this.frames.push(JSON.parse(data.toString()) as Record<string, unknown>));
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** The bodies of the received frames of one name, such as `availability`. */
  framesOf(name: string): Record<string, unknown>[] {
    return this.frames.flatMap((frame) => (name in frame ? [frame[name] as Record<string, unknown>] : []));
  }

  send(...frames: (object | string)[]): void {
    for (const frame of frames) this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  sendBinary(bytes: Buffer): void {
    this.#socket.send(bytes);
  }

  ping(): void {
    this.#socket.ping();
  }

  drop(): void {
    this.#socket.terminate();
  }
}

export type Greeting = (peer: Peer) => void;

export class FakeServer {
  readonly peers: Peer[] = [];
  /** The answers of the LiveKit API by method; `null`: the API answers 404. */
  api: ((method: string) => object) | null = null;
  /** The paths of the requests to that API. */
  readonly paths: string[] = [];
  readonly #http = createServer((request, response) => this.#answer(request, response));
  readonly #sockets = new WebSocketServer({ server: this.#http });
  #greet: Greeting;

  private constructor(greet: Greeting) {
    this.#greet = greet;
    this.#sockets.on('connection', (socket, request) => {
      const peer = new Peer(socket, request);
      this.peers.push(peer);
      this.#greet(peer);
    });
  }

  /** By default the server registers every client. */
  static async start(greet: Greeting = (peer) => peer.send(REGISTERED)): Promise<FakeServer> {
    const server = new FakeServer(greet);
    await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The peer of the latest connection. */
  get latest(): Peer {
    const peer = this.peers.at(-1);
    if (peer === undefined) throw new Error('no client connected');
    return peer;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.paths.push(request.url ?? '');
    if (this.api === null) response.writeHead(404).end();
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(this.api(request.url?.split('/').at(-1) ?? '')));
  }

  greetWith(greet: Greeting): void {
    this.#greet = greet;
  }

  async close(): Promise<void> {
    for (const peer of this.peers) peer.drop();
    this.#sockets.close();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }
}
