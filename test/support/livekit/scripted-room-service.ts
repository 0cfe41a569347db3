/** A server that answers as LiveKit's RoomService does, by script: for orders and faults that the real one shows too seldom. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Reply = { readonly status?: number; readonly body: unknown } | 'never';
export type Script = (method: string, ask: { names?: string[]; room?: string }) => Reply | Promise<Reply>;

export class Twirp {
  script: Script;
  /** Questions that are under way, and the most there ever were. */
  open = 0;
  mostOpen = 0;
  readonly #server: Server;

  private constructor(script: Script) {
    this.script = script;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(script: Script): Promise<Twirp> {
    const twirp = new Twirp(script);
    await new Promise<void>((resolve) => twirp.#server.listen(0, '127.0.0.1', resolve));
    return twirp;
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
    const ask = JSON.parse(Buffer.concat(await request.toArray()).toString());
    const reply = await this.script(request.url?.split('/').at(-1) ?? '', ask);
    if (reply === 'never') return;
    const isPage = typeof reply.body === 'string';
    response.writeHead(reply.status ?? 200, { 'content-type': isPage ? 'text/html' : 'application/json' });
    response.end(isPage ? reply.body : JSON.stringify(reply.body));
  }
}
