/** Webhooks as LiveKit signs them, and as an attacker would. */
import { createHash } from 'node:crypto';
import { AccessToken } from 'livekit-server-sdk';
import { describe, expect, it } from 'vitest';
import { Webhooks } from '../../../src/adapters/livekit/rooms/webhook-receiver.ts';
import { makeWorkerToken } from '../../../src/adapters/livekit/rooms/worker-token.ts';
import { CurfewError } from '../../../src/lib/errors.ts';
import { PRESENCE } from '../../../src/lib/limits/room-limits.ts';

const KEYS = { apiKey: 'key', apiSecret: 'a-secret-that-is-long-enough-for-hs256' };
const NOW = { bootMs: 5000, wallMs: 1_800_000_000_000 };
const SECONDS = NOW.wallMs / 1000;
const ROOM = 'room of +49 151 23456789';

let made = 0;
const event = (fields: object = {}) => {
  made += 1;
  const base = { id: `EV_${made}`, createdAt: String(SECONDS - 2), room: { name: ROOM, sid: 'RM_1' } };
  return JSON.stringify({ ...base, event: 'room_started', ...fields });
};
const hashOf = (body: string) => createHash('sha256').update(body).digest('base64');

function sign(sha256: string | null, { keys = KEYS, ttl = '5m' } = {}): Promise<string> {
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { ttl });
  if (sha256 !== null) token.sha256 = sha256;
  return token.toJwt();
}

async function receive(body: string, webhooks = new Webhooks(KEYS)) {
  return webhooks.receive(body, await sign(hashOf(body)), NOW);
}

async function refused(receiving: Promise<unknown>): Promise<string> {
  const error = await receiving.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof CurfewError)) throw new Error(`not refused by an error of ours: ${error}`);
  expect(error.code).toBe('bad_signature');
  expect(error.message).not.toContain('23456789');
  return error.message;
}

describe('a webhook of LiveKit', () => {
  const ann = { identity: 'ann', sid: 'PA_1', state: 'ACTIVE' };
  const at = { bootMs: NOW.bootMs, wallMs: NOW.wallMs - 2000 };
  const base = { roomSid: 'RM_1', at };
  const left = { ...ann, state: 'DISCONNECTED', disconnectReason: 'CLIENT_INITIATED' };

  it.each([
    ['participant_joined', { participant: ann }, { kind: 'joined', ...base }],
    ['participant_left', { participant: left }, { kind: 'left', reason: 'client_initiated', ...base }],
    ['participant_connection_aborted', { participant: left }, { kind: 'left', ...base }],
    ['track_published', { participant: ann, track: { sid: 'TR_1' } }, { kind: 'changed', ...base }],
    ['track_unpublished', { participant: ann }, { kind: 'changed', ...base }],
    ['room_started', {}, { kind: 'changed', ...base }],
    ['room_finished', {}, { kind: 'finished', ...base }],
  ])('%s is reported with its time and its room', async (name, fields, expected) => {
    const news = await receive(event({ event: name, ...fields }));
    expect(news).toMatchObject({ room: { project: 'default', name: ROOM }, event: expected });
    if (news?.event.kind === 'joined' || news?.event.kind === 'left')
      expect(news.event.participant).toMatchObject({ identity: 'ann', sid: 'PA_1' });
  });

  it('of a phone carries the kind and the call status', async () => {
    const phone = { ...ann, kind: 'SIP', attributes: { 'sip.callStatus': 'active' } };
    expect(await receive(event({ event: 'participant_joined', participant: phone }))).toMatchObject({
      event: { participant: { kind: 'sip', sipCallStatus: 'active' } },
    });
  });

  it('of an unknown participant kind brings no caller', async () => {
    const body = event({ event: 'participant_joined', participant: { ...ann, kind: 'HOLOGRAM' } });
    expect(await receive(body)).toMatchObject({ event: { participant: { kind: 'unknown' } } });
  });

  it.each([
    ['egress_started', { egressInfo: { egressId: 'EG_1' } }],
    ['something_new', { somethingNew: { a: 1 } }],
    ['room_started', { room: null }],
    ['room_started', { room: undefined }],
    ['participant_joined', {}],
    ['participant_joined', { participant: null }],
  ])('%s with %j is ignored', async (name, fields) => {
    expect(await receive(event({ event: name, ...fields }))).toBeNull();
  });

  it('counts once, and another webhook with the same content counts again', async () => {
    const webhooks = new Webhooks(KEYS);
    const body = event();
    expect(await receive(body, webhooks)).not.toBeNull();
    expect(await receive(body, webhooks)).toBeNull();
    expect(await receive(event(), webhooks)).not.toBeNull();
  });

  it('is accepted with the word Bearer in its header', async () => {
    const body = event();
    const news = await new Webhooks(KEYS).receive(body, `Bearer ${await sign(hashOf(body))}`, NOW);
    expect(news).not.toBeNull();
  });
});

describe('a webhook that is not to be trusted', () => {
  const webhooks = new Webhooks(KEYS);

  it.each([
    ['without a header', () => Promise.resolve(undefined), 'no Authorization header'],
    ['with an empty header', () => Promise.resolve(''), 'not an event of LiveKit'],
    ['with a header that is no token', () => Promise.resolve('nonsense'), 'signature is not valid'],
    [
      'signed with another secret',
      (body: string) => sign(hashOf(body), { keys: { ...KEYS, apiSecret: 'another-secret-of-some-length' } }),
      'signature is not valid',
    ],
    [
      'signed with another key',
      (body: string) => sign(hashOf(body), { keys: { ...KEYS, apiKey: 'other' } }),
      'signature is not valid',
    ],
    ['with an expired token', (body: string) => sign(hashOf(body), { ttl: '-1m' }), 'is not valid'],
    ['with the token of another body', () => sign(hashOf('other')), 'sha256'],
    ['with a token without a body hash', () => sign(null), 'sha256'],
    [
      'with the token of a worker',
      () =>
        makeWorkerToken(KEYS, {
          room: { project: 'default', name: ROOM },
          identity: 'agent',
          ttlMs: 60_000,
        }),
      'sha256',
    ],
  ])('that comes %s is refused with the matching reason', async (_, authorize, why) => {
    const body = event();
    expect(await refused(webhooks.receive(body, await authorize(body), NOW))).toContain(why);
  });

  it.each([
    ['made too long ago', { createdAt: String(SECONDS - PRESENCE.webhookMaxAgeMs / 1000 - 1) }, 'too old'],
    ['without a time', { createdAt: undefined }, 'no creation time'],
  ])('is refused for its age: %s', async (_, fields, why) => {
    expect(await refused(receive(event(fields)))).toContain(why);
  });

  it.each([
    '',
    'null',
    '[]',
    '{',
    `{"room": "${ROOM}"}`,
    `{"event": 5, "room": {"name": "${ROOM}"}}`,
  ])('is refused although it is well signed when its body is %j', async (body) => {
    expect(await refused(receive(body))).toBe('the webhook is not an event of LiveKit');
  });
});
