/**
 * The calls of LiveKit's API that an agent may make: those that concern rooms, each with the fields that name one.
 * Source: LiveKit's protobuf files (livekit_room, livekit_sip, livekit_agent_dispatch) and the grants that its server asks for.
 */
import {
  CreateAgentDispatchRequest,
  CreateRoomRequest,
  CreateSIPParticipantRequest,
  DeleteAgentDispatchRequest,
  DeleteRoomRequest,
  ForwardParticipantRequest,
  ListAgentDispatchRequest,
  ListParticipantsRequest,
  ListRoomsRequest,
  MoveParticipantRequest,
  MuteRoomTrackRequest,
  RoomParticipantIdentity,
  SendDataRequest,
  TransferSIPParticipantRequest,
  UpdateParticipantRequest,
  UpdateRoomMetadataRequest,
  UpdateSubscriptionsRequest,
} from '@livekit/protocol';
import type { SIPGrant, VideoGrant } from 'livekit-server-sdk';
import { STAND_IN } from '../../../lib/limits/livekit-limits.ts';

export interface Grants {
  readonly video: VideoGrant;
  readonly sip: SIPGrant | null;
}

export interface Wanted {
  /** Every room that it concerns; empty: all of them. */
  readonly rooms: readonly string[];
  /** What is wanted beyond these rooms; null: nothing. */
  readonly excess: string | null;
  readonly grants: Grants;
  /** As we understood it, and nothing else. */
  readonly body: Uint8Array | string;
}

export interface Call {
  readonly boundMs: number;
  /** Throws for what is no such request, or has fields that we do not know. */
  read(body: Buffer, isJson: boolean): Wanted;
}

interface Message {
  toBinary(): Uint8Array;
  toJsonString(): string;
}

interface MessageType<T> {
  fromBinary(bytes: Uint8Array, options: { readUnknownFields: boolean }): T;
  fromJsonString(text: string): T;
}

interface Rules<T> {
  readonly rooms: (request: T) => readonly string[];
  readonly video: (request: T) => VideoGrant;
  readonly sip?: SIPGrant;
  readonly excess?: (request: T) => string | null;
  readonly boundMs?: number;
}

function call<T extends Message>(type: MessageType<T>, rules: Rules<T>): Call {
  return {
    boundMs: rules.boundMs ?? STAND_IN.callMs,
    read: (body, isJson) => {
      const request = isJson ? type.fromJsonString(body.toString()) : readBinary(type, body);
      return {
        rooms: rules.rooms(request),
        excess: rules.excess?.(request) ?? null,
        grants: { video: rules.video(request), sip: rules.sip ?? null },
        body: isJson ? request.toJsonString() : request.toBinary(),
      };
    },
  };
}

/** A field that we do not know could name a room, and left out it would change what is asked for. */
function readBinary<T extends Message>(type: MessageType<T>, body: Buffer): T {
  const [known, all] = [false, true].map((readUnknownFields) => type.fromBinary(body, { readUnknownFields }));
  if (known === undefined || known.toBinary().length !== all?.toBinary().length)
    throw new Error('it has fields that this version of curfew does not know');
  return known;
}

/** Most calls: one room in `room`, and its administration. */
function inRoom<T extends Message & { room: string }>(type: MessageType<T>): Call {
  return call(type, { rooms: ({ room }) => [room], video: ({ room }) => ({ roomAdmin: true, room }) });
}

function betweenRooms<T extends Message & { room: string; destinationRoom: string }>(
  type: MessageType<T>,
): Call {
  return call(type, {
    rooms: ({ room, destinationRoom }) => [room, destinationRoom],
    video: ({ room, destinationRoom }) => ({ roomAdmin: true, room, destinationRoom }),
  });
}

const CALLS: Readonly<Record<string, Call>> = {
  'livekit.RoomService/CreateRoom': call(CreateRoomRequest, {
    rooms: ({ name }) => [name],
    video: () => ({ roomCreate: true }),
    excess: ({ egress }) => (egress === undefined ? null : 'with egress'),
  }),
  'livekit.RoomService/ListRooms': call(ListRoomsRequest, {
    rooms: ({ names }) => names,
    video: () => ({ roomList: true }),
  }),
  'livekit.RoomService/DeleteRoom': call(DeleteRoomRequest, {
    rooms: ({ room }) => [room],
    video: () => ({ roomCreate: true }),
  }),
  'livekit.RoomService/ListParticipants': inRoom(ListParticipantsRequest),
  'livekit.RoomService/GetParticipant': inRoom(RoomParticipantIdentity),
  'livekit.RoomService/RemoveParticipant': inRoom(RoomParticipantIdentity),
  'livekit.RoomService/MutePublishedTrack': inRoom(MuteRoomTrackRequest),
  'livekit.RoomService/UpdateParticipant': inRoom(UpdateParticipantRequest),
  'livekit.RoomService/UpdateSubscriptions': inRoom(UpdateSubscriptionsRequest),
  'livekit.RoomService/SendData': inRoom(SendDataRequest),
  'livekit.RoomService/UpdateRoomMetadata': inRoom(UpdateRoomMetadataRequest),
  'livekit.RoomService/MoveParticipant': betweenRooms(MoveParticipantRequest),
  'livekit.RoomService/ForwardParticipant': betweenRooms(ForwardParticipantRequest),
  'livekit.SIP/CreateSIPParticipant': call(CreateSIPParticipantRequest, {
    rooms: ({ roomName }) => [roomName],
    video: () => ({}),
    sip: { call: true },
    boundMs: STAND_IN.dialMs,
  }),
  'livekit.SIP/TransferSIPParticipant': call(TransferSIPParticipantRequest, {
    rooms: ({ roomName }) => [roomName],
    video: ({ roomName }) => ({ roomAdmin: true, room: roomName }),
    sip: { call: true },
    boundMs: STAND_IN.dialMs,
  }),
  'livekit.AgentDispatchService/CreateDispatch': inRoom(CreateAgentDispatchRequest),
  'livekit.AgentDispatchService/ListDispatch': inRoom(ListAgentDispatchRequest),
  'livekit.AgentDispatchService/DeleteDispatch': inRoom(DeleteAgentDispatchRequest),
};

/** `method` as in the path, `livekit.RoomService/CreateRoom`; null: none that an agent may call. */
export function callOf(method: string): Call | null {
  return Object.hasOwn(CALLS, method) ? (CALLS[method] ?? null) : null;
}
