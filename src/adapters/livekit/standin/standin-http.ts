/** The stand-in's HTTP server: agents connect to /agent, call the API at /twirp, and launchers report at /curfew/job. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WorkerId } from '../../../core/ids.ts';
import { HTTP } from '../../../lib/limits/api-limits.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { CONNECTION_SHARES } from '../../../lib/limits/worker-limits.ts';
import { mostConnections } from '../../../lib/unix-sockets.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { LauncherReport } from './agent-connection.ts';
import { AgentConnection } from './agent-connection.ts';
import { readStatus } from './agent-frames.ts';
import type { AgentHub } from './agent-hub.ts';
import { readBody } from './request-body.ts';
import { verifyCaller } from './worker-keys.ts';

export interface StandInHttpOptions {
  readonly instance: Instance;
  readonly hub: AgentHub;
  readonly twirp: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** A participant with a token of this worker cannot join here. */
  readonly joinRefused: (workerId: WorkerId) => void;
}

export interface StandInHttp {
  readonly server: Server;
  close(): Promise<void>;
}

export function createStandInHttp({ instance, hub, twirp, joinRefused }: StandInHttpOptions): StandInHttp {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: STAND_IN.frameBytes,
    perMessageDeflate: false,
  });
  const server = createServer({ requestTimeout: HTTP.requestMs }, (request, response) => {
    const path = pathOf(request);
    if (path.startsWith('/twirp/')) void twirp(request, response);
    else if (path === REPORT_PATH) void report({ instance, hub }, request, response);
    else {
      const why = unknownPath(request, { instance, joinRefused });
      response.writeHead(404, { 'content-type': 'text/plain' }).end(why);
    }
  });
  server.maxConnections = mostConnections(CONNECTION_SHARES.standIn);
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (pathOf(request) !== '/agent')
      return refuse(socket, 404, unknownPath(request, { instance, joinRefused }));
    void verifyCaller(instance, request.headers.authorization).then((caller) => {
      if (caller?.grants.video?.agent !== true) return refuse(socket, 401, WRONG_KEY);
      sockets.handleUpgrade(request, socket, head, (ws) =>
        hub.opened(
          new AgentConnection(ws, {
            workerId: caller.workerId,
            launcher: launcherReport(request),
            userAgent: request.headers['user-agent'] ?? '',
            listener: hub,
          }),
        ),
      );
    });
  });
  return { server, close: () => close(server) };
}

/** Our launchers add these headers to each registration. */
function launcherReport({ headers }: IncomingMessage): LauncherReport | null {
  const { 'x-curfew-access': access, 'x-curfew-why': why = '', 'x-curfew-job': job = '' } = headers;
  if (typeof access !== 'string') return null;
  const jobId = job === '' ? null : String(job).slice(0, STAND_IN.errorChars);
  return { access, why: String(why).slice(0, STAND_IN.errorChars), jobId };
}

/** Our launcher reports the end of a job here, because agents-js does not. The header says that the job has dialled a phone. */
const REPORT_PATH = '/curfew/job';
const UNKNOWN_PATH = 'curfew stands in for LiveKit here and serves only /agent and /twirp';
const NO_ROOMS =
  "curfew stands in for LiveKit here, and nobody can join a room at this address: set livekit_access: full in the agent's profile";
/** LiveKit's clients join here and ask here why a join failed. */
const JOIN_PATH = /^\/rtc(\/|$)/;
const WRONG_KEY = 'this token is not signed with the LIVEKIT_API_SECRET that curfew gave to this worker';

function pathOf(request: IncomingMessage): string {
  return request.url?.split('?', 1)[0] ?? '';
}

/** The answer to a path that is not served. An avatar's join has a line in the log of the worker that signed its token. */
function unknownPath(
  request: IncomingMessage,
  { instance, joinRefused }: Pick<StandInHttpOptions, 'instance' | 'joinRefused'>,
): string {
  if (!JOIN_PATH.test(pathOf(request))) return UNKNOWN_PATH;
  const token = /[?&]access_token=([^&]*)/.exec(request.url ?? '')?.[1];
  const authorization = token === undefined ? request.headers.authorization : `Bearer ${token}`;
  void verifyCaller(instance, authorization).then((caller) => caller && joinRefused(caller.workerId));
  return NO_ROOMS;
}

async function report(
  { instance, hub }: Pick<StandInHttpOptions, 'instance' | 'hub'>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const caller = await verifyCaller(instance, request.headers.authorization);
  const body = caller === null ? null : await readBody(request, STAND_IN.frameBytes);
  const status = body === null ? null : readStatus(body);
  if (caller === null) response.writeHead(401, { connection: 'close' }).end(WRONG_KEY);
  else if (status === null) response.writeHead(400, { connection: 'close' }).end();
  else {
    if (request.headers['x-curfew-dialled'] !== undefined) hub.dialled(caller.workerId);
    response.writeHead(hub.reported(caller.workerId, status) ? 204 : 503).end();
  }
}

/** Closes the connection, because the rest of the request is not read. */
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

/** The hub has asked all agents to close. Connections that stay open after `HTTP.closeMs` are cut. */
async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), HTTP.closeMs);
  await closed;
  clearTimeout(cut);
}
