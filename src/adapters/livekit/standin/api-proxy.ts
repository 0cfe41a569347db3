/** Forwards an agent's calls to LiveKit's API: checks that they concern its own rooms, and signs them with minimal grants. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { AccessToken } from 'livekit-server-sdk';
import type { Dispatcher } from 'undici';
import { errors, request as send } from 'undici';
import type { WorkerId } from '../../../core/ids.ts';
import { messageOf } from '../../../lib/errors.ts';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';
import { livekitUrl } from '../../../lib/livekit-url.ts';
import { dispatcherFor } from '../../../lib/outgoing-proxy.ts';
import { Throttle } from '../../../lib/throttle.ts';
import type { Instance } from '../../../ports/instance.ts';
import type { Log } from '../../../ports/log.ts';
import type { ApiMethod, ApiRequest, Grants } from './api-calls.ts';
import { methodNamed } from './api-calls.ts';
import { readBody } from './request-body.ts';
import { verifyCaller } from './worker-keys.ts';

export interface ProxyOptions {
  readonly instance: Instance;
  readonly log: Log;
  readonly livekit: { readonly url: string; readonly apiKey: string; readonly apiSecret: string };
  readonly roomsOf: (workerId: WorkerId) => readonly string[];
  /** Appends a line to the worker's log, within a bound. */
  readonly note: (workerId: WorkerId, line: string) => void;
  /** The agent dials a phone, whatever LiveKit answers. */
  readonly dialled: (workerId: WorkerId) => void;
}

export interface ApiProxy {
  /** Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array | string;
}

/** Codes and their HTTP status. Source: the Twirp wire protocol. */
const STATUS = {
  malformed: 400,
  unauthenticated: 401,
  permission_denied: 403,
  deadline_exceeded: 408,
  resource_exhausted: 429,
  internal: 500,
  unavailable: 503,
} as const;

class Refusal extends Error {
  readonly code: keyof typeof STATUS;

  constructor(code: keyof typeof STATUS, message: string) {
    super(message);
    this.code = code;
  }
}

const REMEDY = 'if the agent needs more, set livekit_access: full in its profile';

export function createProxy(options: ProxyOptions): ApiProxy {
  const agent = dispatcherFor(options.livekit.url, {
    maxResponseSize: STAND_IN.callBytes,
    connections: STAND_IN.callsAtOnce,
  });
  // Because: an agent that repeats a call endlessly would fill the log.
  const warnings = new Throttle(STAND_IN.warnEveryMs);
  const warn = (refusal: Refusal, worker: WorkerId | null) => {
    if (!warnings.passes()) return;
    options.log.warn(
      { worker, code: refusal.code },
      'an API call of a LiveKit agent was refused or failed; the agent got the reason',
    );
  };
  return {
    handle: async (request, response) => {
      let worker: WorkerId | null = null;
      try {
        const caller = await verifyCaller(options.instance, request.headers.authorization);
        worker = caller?.workerId ?? null;
        answer(response, await forward({ ...options, agent }, worker, request));
      } catch (error) {
        const refusal = refusalOf(error);
        warn(refusal, worker);
        if (worker !== null && refusal.code === 'permission_denied')
          options.note(worker, `LiveKit's API refused a call of this agent: ${refusal.message}`);
        answer(response, asAnswer(refusal));
      }
    },
    close: () => agent.destroy(),
  };
}

async function forward(
  { livekit, roomsOf, dialled, agent }: ProxyOptions & { agent: Dispatcher },
  worker: WorkerId | null,
  request: IncomingMessage,
): Promise<Answer> {
  if (worker === null)
    throw new Refusal('unauthenticated', 'the token is not signed with the LIVEKIT_API_SECRET of a worker');
  const method = (request.url ?? '').replace(/^\/twirp\//, '').split('?', 1)[0] ?? '';
  const call = methodNamed(method);
  if (call === null || request.method !== 'POST')
    throw new Refusal('permission_denied', `curfew does not forward ${nameOf(method)}: ${REMEDY}`);
  const isJson = /^application\/json\b/.test(request.headers['content-type'] ?? '');
  const wanted = read({ call, method, isJson }, await bodyOf(request));
  check(wanted, { method, allowed: roomsOf(worker) });
  if (call.dials) dialled(worker);
  const url = livekitUrl(livekit.url, 'http', `/twirp/${method}`);
  const { statusCode, headers, body } = await send(url, {
    method: 'POST',
    dispatcher: agent,
    headers: {
      authorization: `Bearer ${await tokenFor(livekit, wanted.grants)}`,
      'content-type': isJson ? 'application/json' : 'application/protobuf',
    },
    body: wanted.body,
    headersTimeout: call.boundMs,
    signal: AbortSignal.timeout(call.boundMs),
  });
  const contentType = String(headers['content-type'] ?? 'application/json');
  return { status: statusCode, contentType, body: await body.bytes() };
}

function read(
  { call, method, isJson }: { call: ApiMethod; method: string; isJson: boolean },
  body: Buffer,
): ApiRequest {
  try {
    return call.read(body, isJson);
  } catch (error) {
    throw new Refusal('malformed', `the body is not a request of ${nameOf(method)}: ${messageOf(error)}`);
  }
}

function check(
  wanted: ApiRequest,
  { method, allowed }: { method: string; allowed: readonly string[] },
): void {
  const name = nameOf(method);
  if (wanted.rooms.length === 0)
    throw new Refusal(
      'permission_denied',
      `curfew forwards ${name} only with the names of rooms, not for all rooms: ${REMEDY}`,
    );
  const foreign = wanted.rooms.find((room) => !allowed.includes(room));
  if (foreign !== undefined)
    throw new Refusal(
      'permission_denied',
      `curfew forwards ${name} only for the rooms of this agent's call, not for ${JSON.stringify(foreign)}: ${REMEDY}`,
    );
  if (wanted.excess !== null)
    throw new Refusal('permission_denied', `curfew does not forward ${name} ${wanted.excess}: ${REMEDY}`);
}

/** Makes a token with the grants and the lifetime of this one call. */
function tokenFor(keys: { apiKey: string; apiSecret: string }, grants: Grants): Promise<string> {
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { ttl: STAND_IN.callTokenSeconds });
  token.addGrant(grants.video);
  if (grants.sip !== null) token.addSIPGrant(grants.sip);
  return token.toJwt();
}

async function bodyOf(request: Readable): Promise<Buffer> {
  const body = await readBody(request, STAND_IN.callBytes);
  if (body !== null) return body;
  throw new Refusal('resource_exhausted', `a request may have at most ${STAND_IN.callBytes} bytes`);
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof errors.ResponseExceededMaxSizeError)
    return new Refusal('resource_exhausted', `LiveKit's answer has more than ${STAND_IN.callBytes} bytes`);
  const isLate = error instanceof Error && ['TimeoutError', 'HeadersTimeoutError'].includes(error.name);
  return isLate
    ? new Refusal('deadline_exceeded', 'LiveKit did not answer in time')
    : new Refusal('unavailable', `LiveKit cannot be reached: ${messageOf(error)}`);
}

/** Formats a method as `RoomService.CreateRoom`. The length is bounded, because the agent chooses the text. */
function nameOf(method: string): string {
  return method
    .replace(/^livekit\./, '')
    .replace('/', '.')
    .slice(0, STAND_IN.methodChars);
}

function asAnswer({ code, message }: Refusal): Answer {
  const body = JSON.stringify({ code, msg: message });
  return { status: STATUS[code], contentType: 'application/json', body };
}

/** After a request that was not read to its end the connection cannot be used again. */
function answer(response: ServerResponse, { status, contentType, body }: Answer): void {
  if (response.destroyed) return;
  const unread = response.req.complete ? {} : { connection: 'close' };
  response.writeHead(status, { 'content-type': contentType, ...unread }).end(body);
}
