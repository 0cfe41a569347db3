/**
 * The methods of LiveKit's API that an agent may call. All of them concern rooms, and each lists the fields that name one.
 * Source: LiveKit's protobuf files (livekit_room, livekit_sip, livekit_agent_dispatch) and the grants that its server checks.
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

export interface ApiRequest {
  /** All rooms that the request concerns. Empty: all rooms of the server. */
  readonly rooms: readonly string[];
  /** The part of the request that goes beyond these rooms. `null`: none. */
  readonly excess: string | null;
  readonly grants: Grants;
  /** The parsed request, serialized again, so that it contains only checked fields. */
  readonly body: Uint8Array | string;
}

export interface ApiMethod {
  readonly boundMs: number;
  /** The method makes a phone ring. */
  readonly dials: boolean;
  /** Throws if the body is not such a request, or has unknown fields. */
  read(body: Buffer, isJson: boolean): ApiRequest;
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
  readonly dials?: true;
}

function method<T extends Message>(type: MessageType<T>, rules: Rules<T>): ApiMethod {
  return {
    boundMs: rules.boundMs ?? STAND_IN.callMs,
    dials: rules.dials ?? false,
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

/** Refuses unknown fields: such a field could name a room, and without it the request would mean something else. */
function readBinary<T extends Message>(type: MessageType<T>, body: Buffer): T {
  const [known, all] = [false, true].map((readUnknownFields) => type.fromBinary(body, { readUnknownFields }));
  if (known === undefined || known.toBinary().length !== all?.toBinary().length)
    throw new Error('the request has fields that this version of curfew does not know');
  return known;
}

/** Most methods: one room in the field `room`, with the grant to administrate it. */
function inRoom<T extends Message & { room: string }>(type: MessageType<T>): ApiMethod {
  return method(type, { rooms: ({ room }) => [room], video: ({ room }) => ({ roomAdmin: true, room }) });
}

function betweenRooms<T extends Message & { room: string; destinationRoom: string }>(
  type: MessageType<T>,
): ApiMethod {
  return method(type, {
    rooms: ({ room, destinationRoom }) => [room, destinationRoom],
    video: ({ room, destinationRoom }) => ({ roomAdmin: true, room, destinationRoom }),
  });
}

const METHODS: Readonly<Record<string, ApiMethod>> = {
  'livekit.RoomService/CreateRoom': method(CreateRoomRequest, {
    rooms: ({ name }) => [name],
    video: () => ({ roomCreate: true }),
    excess: ({ egress }) => (egress === undefined ? null : 'with egress'),
  }),
  'livekit.RoomService/ListRooms': method(ListRoomsRequest, {
    rooms: ({ names }) => names,
    video: () => ({ roomList: true }),
  }),
  'livekit.RoomService/DeleteRoom': method(DeleteRoomRequest, {
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
  'livekit.SIP/CreateSIPParticipant': method(CreateSIPParticipantRequest, {
    rooms: ({ roomName }) => [roomName],
    video: () => ({}),
    sip: { call: true },
    boundMs: STAND_IN.dialMs,
    dials: true,
  }),
  'livekit.SIP/TransferSIPParticipant': method(TransferSIPParticipantRequest, {
    rooms: ({ roomName }) => [roomName],
    video: ({ roomName }) => ({ roomAdmin: true, room: roomName }),
    sip: { call: true },
    boundMs: STAND_IN.dialMs,
  }),
  'livekit.AgentDispatchService/CreateDispatch': inRoom(CreateAgentDispatchRequest),
  'livekit.AgentDispatchService/ListDispatch': inRoom(ListAgentDispatchRequest),
  'livekit.AgentDispatchService/DeleteDispatch': inRoom(DeleteAgentDispatchRequest),
};

/** `method` is the path without /twirp/, such as `livekit.RoomService/CreateRoom`. `null`: agents may not call it. */
export function methodNamed(method: string): ApiMethod | null {
  return Object.hasOwn(METHODS, method) ? (METHODS[method] ?? null) : null;
}
