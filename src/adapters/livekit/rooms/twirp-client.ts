/** Calls of LiveKit's RoomService, each with a bound. `not_found` is an answer, not an error. */
import type { VideoGrant } from 'livekit-server-sdk';
import { AccessToken, AgentDispatchClient, Room, RoomServiceClient, ServerError } from 'livekit-server-sdk';
import pTimeout from 'p-timeout';
import { z } from 'zod';
import type { JobMessage } from '../../../core/model/job-options.ts';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import type { Participant } from '../../../core/rooms/presence.ts';
import { PRESENCE } from '../../../lib/limits/room-limits.ts';
import { toParticipant } from './participant-mapping.ts';
import { isNotFound } from './request-failure.ts';

export interface RoomFacts {
  readonly sid: string;
  readonly createdWallMs: number;
}

/**
 * `revokedBeforeWallMs`: LiveKit refuses tokens of this identity that were made before this second.
 * Because: LiveKit's own default is one minute in the future, which would refuse the next agent, too. The server 1.13.5 reads neither.
 */
export interface RemovedParticipant {
  readonly identity: string;
  readonly revokedBeforeWallMs: number;
}

export interface RoomClient {
  /** The existing rooms among these names, by name. No names: all rooms. */
  list(names: readonly string[], boundMs: number): Promise<Map<string, RoomFacts>>;
  /** LiveKit's `Room` as JSON. null: there is no such room. */
  describe(name: string, boundMs: number): Promise<JobMessage | null>;
  /** Empty for an unknown room. */
  participants(name: string, boundMs: number): Promise<Participant[]>;
  /** False: the participant was not in the room. */
  remove(name: string, participant: RemovedParticipant, boundMs: number): Promise<boolean>;
  /** False: the room did not exist. */
  delete(name: string, boundMs: number): Promise<boolean>;
  /** The ids of all jobs of the room, also of ended ones, because LiveKit's answer does not distinguish them. */
  jobs(name: string, boundMs: number): Promise<string[]>;
}

export function createRoomClient(keys: LiveKitKeys): RoomClient {
  // Each bound needs its own client: the SDK takes its timeout, in whole seconds, at construction.
  const optionsOf = (boundMs: number) => ({
    requestTimeout: Math.max(1, Math.ceil(boundMs / 1000)),
    failover: false,
  });
  const { url, apiKey, apiSecret } = keys;
  const service = (boundMs: number) => new RoomServiceClient(url, apiKey, apiSecret, optionsOf(boundMs));
  const agents = (boundMs: number) => new AgentDispatchClient(url, apiKey, apiSecret, optionsOf(boundMs));
  return {
    list: async (names, boundMs) => {
      const rooms = await bounded(listRooms(keys, names, boundMs), boundMs);
      return new Map(rooms.map(toRoom).map((room) => [room.name, toFacts(room)]));
    },
    describe: async (name, boundMs) => {
      const rooms = await bounded(listRooms(keys, [name], boundMs), boundMs);
      return rooms.find((json) => toRoom(json).name === name) ?? null;
    },
    participants: (name, boundMs) => bounded(listParticipants(keys, name, boundMs), boundMs),
    remove: (name, { identity, revokedBeforeWallMs }, boundMs) => {
      const revokeTokenTs = BigInt(Math.floor(revokedBeforeWallMs / 1000));
      return found(bounded(service(boundMs).removeParticipant(name, identity, { revokeTokenTs }), boundMs));
    },
    delete: (name, boundMs) => found(bounded(service(boundMs).deleteRoom(name), boundMs)),
    jobs: async (name, boundMs) => {
      const dispatches = await bounded(agents(boundMs).listDispatch(name), boundMs);
      return dispatches.flatMap((one) => one.state?.jobs ?? []).map((job) => job.id);
    },
  };
}

function toFacts(room: Room): RoomFacts {
  const createdWallMs =
    room.creationTimeMs > 0n ? Number(room.creationTimeMs) : Number(room.creationTime) * 1000;
  return { sid: room.sid, createdWallMs };
}

function bounded<T>(promise: Promise<T>, boundMs: number): Promise<T> {
  return pTimeout(promise, { milliseconds: Math.max(1, boundMs) });
}

const roomsSchema = z.object({ rooms: z.array(z.record(z.string(), z.json())).default([]) });
const participantsSchema = z.object({ participants: z.array(z.record(z.string(), z.json())).default([]) });
const refusalSchema = z.object({ code: z.string() });

async function listRooms(
  keys: LiveKitKeys,
  names: readonly string[],
  boundMs: number,
): Promise<JobMessage[]> {
  const answer = await callTwirp(keys, {
    method: 'ListRooms',
    grant: { roomList: true },
    body: { names },
    boundMs,
  });
  return roomsSchema.parse(answer).rooms;
}

function toRoom(json: JobMessage): Room {
  return Room.fromJson({ ...json }, { ignoreUnknownFields: true });
}

/** Because: the SDK's client decodes an unknown kind as STANDARD. Such a participant would count as a caller. */
async function listParticipants(keys: LiveKitKeys, room: string, boundMs: number): Promise<Participant[]> {
  try {
    const grant = { roomAdmin: true, room };
    const answer = await callTwirp(keys, { method: 'ListParticipants', grant, body: { room }, boundMs });
    return participantsSchema.parse(answer).participants.map(toParticipant);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

interface TwirpRequest {
  readonly method: 'ListRooms' | 'ListParticipants';
  readonly grant: VideoGrant;
  readonly body: object;
  readonly boundMs: number;
}

/** Because: the SDK's client reads an answer of any size. Source: LiveKit's Twirp service, as JSON. */
async function callTwirp({ url, apiKey, apiSecret }: LiveKitKeys, request: TwirpRequest): Promise<unknown> {
  const { method, grant, body, boundMs } = request;
  const token = new AccessToken(apiKey, apiSecret, { ttl: REQUEST_TOKEN_SECONDS });
  token.addGrant(grant);
  const response = await fetch(new URL(`/twirp/livekit.RoomService/${method}`, url.replace(/^ws/, 'http')), {
    method: 'POST',
    headers: { authorization: `Bearer ${await token.toJwt()}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(Math.max(1, Math.ceil(boundMs))),
  });
  if (response.ok) return readJson(response);
  const refusal = refusalSchema.safeParse(await readJson(response).catch(() => null)).data;
  throw new ServerError(response.statusText, '', response.status, refusal?.code);
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

/** The same lifetime as the SDK gives to its own tokens. */
const REQUEST_TOKEN_SECONDS = 600;

async function found(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
