/** RoomService calls, each bounded; `not_found` is an answer, not an error. Source: livekit-server-sdk 2.19's ServerError. */
import type { Room } from 'livekit-server-sdk';
import { RoomServiceClient } from 'livekit-server-sdk';
import pTimeout from 'p-timeout';
import type { Participant } from '../core/presence.ts';
import { toParticipant } from './mapping.ts';

export interface LiveKitAccess {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
}

export interface RoomFacts {
  readonly sid: string;
  readonly createdWallMs: number;
}

export interface RoomClient {
  /** The rooms that exist, of these names, or of all. */
  list(names: readonly string[], boundMs: number): Promise<Map<string, RoomFacts>>;
  participants(name: string, boundMs: number): Promise<Participant[]>;
  /** False: it was not there. */
  remove(name: string, identity: string, boundMs: number): Promise<boolean>;
  delete(name: string, boundMs: number): Promise<boolean>;
}

export function createRoomClient({ url, apiKey, apiSecret }: LiveKitAccess): RoomClient {
  const host = url.replace(/^ws/, 'http');
  // One client for each bound: the SDK takes its timeout, in seconds, when it is made.
  const service = (boundMs: number) =>
    new RoomServiceClient(host, apiKey, apiSecret, {
      requestTimeout: Math.max(1, Math.ceil(boundMs / 1000)),
      failover: false,
    });
  return {
    list: async (names, boundMs) => {
      const rooms = await bounded(service(boundMs).listRooms([...names]), boundMs);
      return new Map(rooms.map((room) => [room.name, toFacts(room)]));
    },
    participants: async (name, boundMs) => {
      const found = await bounded(service(boundMs).listParticipants(name), boundMs).catch(orNothing);
      return found === null ? [] : found.map(toParticipant);
    },
    remove: (name, identity, boundMs) =>
      wasThere(bounded(service(boundMs).removeParticipant(name, identity), boundMs)),
    delete: (name, boundMs) => wasThere(bounded(service(boundMs).deleteRoom(name), boundMs)),
  };
}

function toFacts(room: Room): RoomFacts {
  const createdWallMs =
    room.creationTimeMs > 0n ? Number(room.creationTimeMs) : Number(room.creationTime) * 1000;
  return { sid: room.sid, createdWallMs };
}

function bounded<T>(promise: Promise<T>, boundMs: number): Promise<T> {
  return pTimeout(promise, {
    milliseconds: Math.max(1, boundMs),
    message: `LiveKit did not answer within ${boundMs} ms`,
  });
}

async function wasThere(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => true,
    (error: unknown) => orNothing(error) !== null,
  );
}

/** null for "not found"; anything else is thrown on. */
function orNothing(error: unknown): null {
  const { status, code } = error as { status?: number; code?: string };
  if (status === 404 || code === 'not_found') return null;
  throw error;
}
