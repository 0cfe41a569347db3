/**
 * One call of LiveKit's Twirp API, as JSON.
 * Because: the SDK's clients drop a path of the address, use no proxy, and read an answer of any size.
 */
import type { VideoGrant } from 'livekit-server-sdk';
import { AccessToken, ServerError } from 'livekit-server-sdk';
import type { Response } from 'undici';
import { fetch } from 'undici';
import { z } from 'zod';
import { PRESENCE } from './limits/room-limits.ts';
import { livekitUrl } from './livekit-url.ts';
import { dispatcherFor } from './outgoing-proxy.ts';

export interface TwirpRequest {
  /** Such as `RoomService/ListRooms`. */
  readonly method: string;
  readonly grant: VideoGrant;
  readonly body: object;
  readonly boundMs: number;
}

/** Rejects with the SDK's ServerError when LiveKit refuses. */
export type CallTwirp = (request: TwirpRequest) => Promise<unknown>;

interface Keys {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
}

/** The same lifetime as the SDK gives to its own tokens. */
const TOKEN_SECONDS = 600;
const refusalSchema = z.object({ code: z.string() });

export function createTwirp({ url, apiKey, apiSecret }: Keys): CallTwirp {
  const dispatcher = dispatcherFor(url);
  return async ({ method, grant, body, boundMs }) => {
    const token = new AccessToken(apiKey, apiSecret, { ttl: TOKEN_SECONDS });
    token.addGrant(grant);
    const response = await fetch(livekitUrl(url, 'http', `/twirp/livekit.${method}`), {
      method: 'POST',
      headers: { authorization: `Bearer ${await token.toJwt()}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(Math.max(1, Math.ceil(boundMs))),
      dispatcher,
    });
    if (response.ok) return readJson(response);
    const refusal = refusalSchema.safeParse(await readJson(response).catch(() => null)).data;
    throw new ServerError(response.statusText, '', response.status, refusal?.code);
  };
}

const messages = z.array(z.record(z.string(), z.json()));
type Message = z.infer<typeof messages>[number];

/**
 * The list of this name in an answer. Throws without one, because an unknown answer must not look like an empty list.
 * LiveKit's server writes `agent_dispatches`, and the JSON mapping of Protobuf also allows `agentDispatches`.
 */
export function listIn(answer: unknown, name: string): Message[] {
  const camelCase = name.replaceAll(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());
  const fields = z.record(z.string(), z.unknown()).parse(answer);
  return messages.parse(fields[name] ?? fields[camelCase]);
}

/** LiveKit's `AgentDispatch` as JSON, for each dispatch of the room. */
export async function listDispatches(call: CallTwirp, room: string, boundMs: number): Promise<Message[]> {
  const method = 'AgentDispatchService/ListDispatch';
  const answer = await call({ method, grant: { roomAdmin: true, room }, body: { room }, boundMs });
  return listIn(answer, 'agent_dispatches');
}

/** Bounds the size. Otherwise an endless answer would fill the memory until the request's time is over. */
async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > PRESENCE.answerBytes)
      throw new Error(`LiveKit's answer has more than ${PRESENCE.answerBytes} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
