/** The stand-in's HTTP server: agents at /agent, their API calls at /twirp, nothing else. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { HTTP, STAND_IN } from '../limits.ts';
import type { Instance } from '../ports.ts';
import type { Hub } from './hub.ts';
import { verifyCaller } from './keys.ts';
import { Link } from './link.ts';

export interface DoorOptions {
  readonly instance: Instance;
  readonly hub: Hub;
  readonly twirp: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

export interface Door {
  readonly server: Server;
  close(): Promise<void>;
}

export function createDoor({ instance, hub, twirp }: DoorOptions): Door {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: STAND_IN.frameBytes,
    perMessageDeflate: false,
  });
  const server = createServer({ requestTimeout: HTTP.requestMs }, (request, response) => {
    if (pathOf(request).startsWith('/twirp/')) void twirp(request, response);
    else response.writeHead(404, { 'content-type': 'text/plain' }).end(NOT_HERE);
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (pathOf(request) !== '/agent') return refuse(socket, 404, NOT_HERE);
    void verifyCaller(instance, request.headers.authorization).then((caller) => {
      if (caller?.grants.video?.agent !== true) return refuse(socket, 401, NOT_YOURS);
      sockets.handleUpgrade(request, socket, head, (ws) =>
        hub.opened(new Link(ws, { workerId: caller.workerId, listener: hub })),
      );
    });
  });
  return { server, close: () => close(server) };
}

const NOT_HERE = 'curfew stands in for LiveKit here: only /agent and /twirp are answered';
const NOT_YOURS = 'this token is not signed with the LIVEKIT_API_SECRET that curfew gave to this worker';

function pathOf(request: IncomingMessage): string {
  return request.url?.split('?', 1)[0] ?? '';
}

/** `head` of the refused request is not read, so the connection cannot be used again. */
function refuse(socket: Duplex, status: number, why: string): void {
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Connection: close',
      'Content-Type: text/plain',
      `Content-Length: ${Buffer.byteLength(why)}`,
      '',
      why,
    ].join('\r\n'),
    () => socket.destroy(),
  );
}

/** Agents were asked to close; what is left after a moment is cut off. */
async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), HTTP.closeMs);
  await closed;
  clearTimeout(cut);
}
