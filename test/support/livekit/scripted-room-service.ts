/** A server with LiveKit's RoomService API and scripted answers: for orders and faults that a real server shows too seldom. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Reply = { readonly status?: number; readonly body: unknown } | 'never';
export type Script = (method: string, request: { names?: string[]; room?: string }) => Reply | Promise<Reply>;

export class ScriptedRoomService {
  script: Script;
  /** Requests in progress now, and their maximum so far. */
  open = 0;
  mostOpen = 0;
  readonly #server: Server;

  private constructor(script: Script) {
    this.script = script;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(script: Script): Promise<ScriptedRoomService> {
    const service = new ScriptedRoomService(script);
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    response.once('close', () => {
      this.open -= 1;
    });
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    const reply = await this.script(request.url?.split('/').at(-1) ?? '', body);
    if (reply === 'never') return;
    const isPage = typeof reply.body === 'string';
    response.writeHead(reply.status ?? 200, { 'content-type': isPage ? 'text/html' : 'application/json' });
    response.end(isPage ? reply.body : JSON.stringify(reply.body));
  }
}
