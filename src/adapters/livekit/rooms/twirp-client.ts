/** Calls of LiveKit's RoomService, each with a bound. `not_found` is an answer, not an error. */
import { AgentDispatch } from '@livekit/protocol';
import { Room } from 'livekit-server-sdk';
import pTimeout from 'p-timeout';
import type { JobMessage } from '../../../core/model/job-options.ts';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import type { Participant } from '../../../core/rooms/presence.ts';
import type { CallTwirp } from '../../../lib/twirp.ts';
import { createTwirp, listDispatches, listIn } from '../../../lib/twirp.ts';
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
  const twirp = createTwirp(keys);
  const call: CallTwirp = (request) => bounded(twirp(request), request.boundMs);
  return {
    list: async (names, boundMs) => {
      const rooms = await listRooms(call, names, boundMs);
      return new Map(rooms.map(toRoom).map((room) => [room.name, toFacts(room)]));
    },
    describe: async (name, boundMs) => {
      const rooms = await listRooms(call, [name], boundMs);
      return rooms.find((json) => toRoom(json).name === name) ?? null;
    },
    participants: (name, boundMs) => listParticipants(call, name, boundMs),
    remove: (room, { identity, revokedBeforeWallMs }, boundMs) => {
      const revokeTokenTs = `${Math.floor(revokedBeforeWallMs / 1000)}`;
      const grant = { roomAdmin: true, room };
      const body = { room, identity, revokeTokenTs };
      return found(call({ method: 'RoomService/RemoveParticipant', grant, body, boundMs }));
    },
    delete: (room, boundMs) =>
      found(call({ method: 'RoomService/DeleteRoom', grant: { roomCreate: true }, body: { room }, boundMs })),
    jobs: async (room, boundMs) => {
      const listed = await listDispatches(call, room, boundMs);
      const dispatches = listed.map((one) => AgentDispatch.fromJson(one, { ignoreUnknownFields: true }));
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

async function listRooms(call: CallTwirp, names: readonly string[], boundMs: number): Promise<JobMessage[]> {
  const answer = await call({
    method: 'RoomService/ListRooms',
    grant: { roomList: true },
    body: { names },
    boundMs,
  });
  return listIn(answer, 'rooms');
}

function toRoom(json: JobMessage): Room {
  return Room.fromJson({ ...json }, { ignoreUnknownFields: true });
}

/** Because: the SDK's client decodes an unknown kind as STANDARD. Such a participant would count as a caller. */
async function listParticipants(call: CallTwirp, room: string, boundMs: number): Promise<Participant[]> {
  try {
    const grant = { roomAdmin: true, room };
    const answer = await call({ method: 'RoomService/ListParticipants', grant, body: { room }, boundMs });
    return listIn(answer, 'participants').map(toParticipant);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

async function found(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
