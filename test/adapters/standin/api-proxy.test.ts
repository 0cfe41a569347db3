/** The agent's calls of LiveKit's API against the real server: which calls are passed on, and which are refused. */
import {
  CreateRoomRequest,
  ListParticipantsRequest,
  ListParticipantsResponse,
  RoomEgress,
} from '@livekit/protocol';
import {
  AccessToken,
  AgentDispatchClient,
  EgressClient,
  IngressClient,
  RoomServiceClient,
  SipClient,
} from 'livekit-server-sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import { ScriptedRoomService } from '../../support/livekit/scripted-room-service.ts';
import { StandInRig } from '../../support/livekit/standin-rig.ts';

let livekit: LiveKit;
let rig: StandInRig;
let callers: Callers;

beforeAll(async () => {
  livekit = await LiveKit.start();
  rig = await new StandInRig({ livekit: { url: livekit.url, apiKey: KEY, apiSecret: SECRET } }).listen();
  rig.know('w-1', ['own', 'own-human-agent']);
  rig.know('w-2', ['other']);
  await livekit.rooms.createRoom({ name: 'other' });
  callers = new Callers(livekit);
  await callers.join('own', 'caller', { audio: false });
});
afterAll(async () => {
  callers?.kill();
  await rig?.close();
  await livekit?.close();
});

function access(name = 'w-1'): [string, string, string] {
  const { apiKey, apiSecret } = rig.standIn.keysFor(workerId(name));
  return [rig.standIn.url.replace('ws', 'http'), apiKey, apiSecret];
}

const rooms = () => new RoomServiceClient(...access());
const sip = () => new SipClient(...access());
const dispatches = () => new AgentDispatchClient(...access());

async function post(
  path: string,
  body: Uint8Array | string,
  { token, type = 'application/json' }: { token?: string; type?: string } = {},
): Promise<Response> {
  return fetch(`${rig.standIn.url.replace('ws', 'http')}/twirp/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token ?? (await rig.token('w-1'))}`, 'content-type': type },
    body: Buffer.from(body),
  });
}

describe("an agent's API call for its own rooms", () => {
  it('reads and changes its room', async () => {
    expect((await rooms().listRooms(['own'])).map(({ name }) => name)).toEqual(['own']);
    expect((await rooms().updateRoomMetadata('own', 'said')).metadata).toBe('said');
    await rooms().sendData('own', new Uint8Array([1]), 0, {});
  });

  it('reads, changes and removes the participants of its room', async () => {
    await until('the caller is there', async () => (await rooms().listParticipants('own')).length === 1);
    expect((await rooms().getParticipant('own', 'caller')).identity).toBe('caller');
    expect((await rooms().updateParticipant('own', 'caller', { name: 'Ann' })).name).toBe('Ann');
    await rooms().updateSubscriptions('own', 'caller', [], true);
    await rooms().removeParticipant('own', 'caller');
    await until('the caller is out', async () => (await rooms().listParticipants('own')).length === 0);
  });

  it('creates and deletes its side room', async () => {
    await rooms().createRoom({ name: 'own-human-agent' });
    expect(await livekit.rooms.listRooms(['own-human-agent'])).toHaveLength(1);
    await rooms().deleteRoom('own-human-agent');
    expect(await livekit.rooms.listRooms(['own-human-agent'])).toHaveLength(0);
  });

  it('creates and deletes a dispatch in its room', async () => {
    const { id } = await dispatches().createDispatch('own', 'transcriber');
    expect((await dispatches().listDispatch('own')).map((one) => one.id)).toContain(id);
    await dispatches().deleteDispatch(id, 'own');
  });

  it('works in protobuf, too', async () => {
    const type = 'application/protobuf';
    const body = new ListParticipantsRequest({ room: 'own' }).toBinary();
    const response = await post('livekit.RoomService/ListParticipants', body, { type });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, type]);
    ListParticipantsResponse.fromBinary(new Uint8Array(await response.arrayBuffer()));
  });

  const answeredByLiveKit: [string, () => Promise<unknown>][] = [
    ['mutePublishedTrack', () => rooms().mutePublishedTrack('own', 'nobody', 'TR_1', true)],
    ['forwardParticipant', () => rooms().forwardParticipant('own', 'nobody', 'own-human-agent')],
    ['moveParticipant', () => rooms().moveParticipant('own', 'nobody', 'own-human-agent')],
    ['createSipParticipant', () => sip().createSipParticipant('ST_1', '+100', 'own')],
    ['transferSipParticipant', () => sip().transferSipParticipant('own', 'nobody', 'tel:+100')],
  ];
  it.each(answeredByLiveKit)("returns LiveKit's own answer: %s", async (_, call) => {
    const refusal = await call().catch((error: Error) => error);
    expect(String(refusal)).not.toContain('curfew');
    expect(refusal).toBeInstanceOf(Error);
  });
});

describe("an agent's API call for anything else", () => {
  const foreign: [string, () => Promise<unknown>][] = [
    ['RoomService.CreateRoom', () => rooms().createRoom({ name: 'other' })],
    ['RoomService.ListRooms', () => rooms().listRooms(['own', 'other'])],
    ['RoomService.DeleteRoom', () => rooms().deleteRoom('other')],
    ['RoomService.ListParticipants', () => rooms().listParticipants('other')],
    ['RoomService.GetParticipant', () => rooms().getParticipant('other', 'x')],
    ['RoomService.RemoveParticipant', () => rooms().removeParticipant('other', 'x')],
    ['RoomService.MutePublishedTrack', () => rooms().mutePublishedTrack('other', 'x', 'TR_1', true)],
    ['RoomService.UpdateParticipant', () => rooms().updateParticipant('other', 'x', { name: 'y' })],
    ['RoomService.UpdateSubscriptions', () => rooms().updateSubscriptions('other', 'x', [], true)],
    ['RoomService.SendData', () => rooms().sendData('other', new Uint8Array(1), 0, {})],
    ['RoomService.UpdateRoomMetadata', () => rooms().updateRoomMetadata('other', 'x')],
    ['RoomService.MoveParticipant', () => rooms().moveParticipant('own', 'x', 'other')],
    ['RoomService.ForwardParticipant', () => rooms().forwardParticipant('other', 'x', 'own')],
    ['SIP.CreateSIPParticipant', () => sip().createSipParticipant('ST_1', '+100', 'other')],
    ['SIP.TransferSIPParticipant', () => sip().transferSipParticipant('other', 'x', 'tel:+100')],
    ['AgentDispatchService.CreateDispatch', () => dispatches().createDispatch('other', 'x')],
    ['AgentDispatchService.ListDispatch', () => dispatches().listDispatch('other')],
    ['AgentDispatchService.DeleteDispatch', () => dispatches().deleteDispatch('AD_1', 'other')],
  ];
  it.each(foreign)('is refused with the names of the method and the room: %s', async (name, call) => {
    await expect(call()).rejects.toMatchObject({ status: 403, code: 'permission_denied' });
    const message = String(await call().catch((error: Error) => error.message));
    for (const part of [name, '"other"', 'livekit_access: full']) expect(message).toContain(part);
  });

  const elsewhere: [string, () => Promise<unknown>][] = [
    ['RoomService.ListRooms', () => rooms().listRooms()],
    ['RoomService.CreateRoom', () => rooms().createRoom({ name: 'own', egress: new RoomEgress({}) })],
    ['SIP.ListSIPOutboundTrunk', () => sip().listSipOutboundTrunk()],
    [
      'SIP.CreateSIPDispatchRule',
      () => sip().createSipDispatchRule({ type: 'direct', roomName: 'own', pin: '' }),
    ],
    ['Egress.StopEgress', () => new EgressClient(...access()).stopEgress('EG_1')],
    ['Ingress.DeleteIngress', () => new IngressClient(...access()).deleteIngress('IN_1')],
  ];
  it.each(elsewhere)('is refused with the name of the method: %s', async (name, call) => {
    await expect(call()).rejects.toMatchObject({ status: 403, code: 'permission_denied' });
    const message = String(await call().catch((error: Error) => error.message));
    for (const part of [name, 'livekit_access: full']) expect(message).toContain(part);
  });

  it('changes nothing in the other room', async () => {
    const [other] = await livekit.rooms.listRooms(['other']);
    expect(other?.metadata).toBe('');
  });

  it.each([
    'constructor/x',
    '__proto__',
    '..%2f..',
    'livekit.RoomService/',
    '',
  ])('is refused on an unknown path: /twirp/%s', async (path) => {
    expect((await post(path, '{}')).status).toBe(403);
  });
});

describe("an agent's API call", () => {
  const list = 'livekit.RoomService/ListParticipants';

  it('is refused without the right key', async () => {
    const [, ownKey] = access('w-1');
    const [, , otherSecret] = access('w-2');
    const foreign = new AccessToken(ownKey, otherSecret);
    foreign.addGrant({ roomAdmin: true, room: 'own' });
    for (const token of ['x', await foreign.toJwt(), await rig.token('w-1', { ttl: -60 })])
      expect((await post(list, '{"room":"own"}', { token })).status).toBe(401);
    expect((await post(list, '{"room":"own"}', { token: await rig.token('w-2') })).status).toBe(403);
    expect((await post(list, '{"room":"own"}', { token: await rig.token('w-gone') })).status).toBe(403);
  });

  it.each([
    '',
    '[]',
    '{"room":',
    '{"room":7}',
    '{"room":"own","house":"x"}',
  ])('is refused as malformed with the body %j', async (body) => {
    const response = await post(list, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'malformed' });
  });

  it('is refused as malformed with an unknown field in protobuf', async () => {
    const known = new CreateRoomRequest({ name: 'own' }).toBinary();
    const body = Buffer.concat([known, Buffer.from([0xa2, 0x06, 0x01, 0x00])]);
    const response = await post('livekit.RoomService/CreateRoom', body, { type: 'application/protobuf' });
    expect(await response.json()).toMatchObject({ code: 'malformed' });
  });

  it('is judged by the last of two rooms in one body, as LiveKit reads it', async () => {
    expect((await post(list, '{"room":"own","room":"other"}')).status).toBe(403);
  });

  it('is refused when it is too large', async () => {
    const response = await post(list, JSON.stringify({ room: 'x'.repeat(2 * 1024 * 1024) })).catch(
      () => null,
    );
    expect(response?.status ?? 429).toBe(429);
  });
});

describe('a failure of LiveKit behind the proxy', () => {
  it('reaches the agent as the error code that fits it', async () => {
    const server = await ScriptedRoomService.start(() => ({
      status: 200,
      body: { participants: ['x'.repeat(2 ** 21)] },
    }));
    const own = await new StandInRig({
      livekit: { url: server.url, apiKey: KEY, apiSecret: SECRET },
    }).listen();
    const { apiKey, apiSecret } = own.standIn.keysFor(workerId('w-1'));
    const client = new RoomServiceClient(own.standIn.url.replace('ws', 'http'), apiKey, apiSecret, {
      requestTimeout: 30,
    });
    try {
      await expect(client.listParticipants('room-w-1')).rejects.toMatchObject({ code: 'resource_exhausted' });
      server.script = () => ({ status: 503, body: { code: 'unavailable', msg: 'not now' } });
      await expect(client.listParticipants('room-w-1')).rejects.toMatchObject({ message: 'not now' });
      server.script = () => 'never';
      await expect(client.listParticipants('room-w-1')).rejects.toMatchObject({ code: 'deadline_exceeded' });
      server.close();
      await expect(client.listParticipants('room-w-1')).rejects.toMatchObject({ code: 'unavailable' });
    } finally {
      server.close();
      await own.close();
    }
  });
});
