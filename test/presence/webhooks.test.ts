/** LiveKit's webhooks: forged, stale, repeated and unknown ones. Signed here as LiveKit signs them. */
import { createHash } from 'node:crypto';
import { AccessToken } from 'livekit-server-sdk';
import { describe, expect, it } from 'vitest';
import { PRESENCE } from '../../src/limits.ts';
import { Webhooks } from '../../src/presence/webhooks.ts';

const KEY = 'devkey';
const SECRET = 'a-secret-that-is-long-enough-for-hs256';
const NOW = { bootMs: 1_000_000, wallMs: Date.UTC(2026, 10, 21) };

async function sign(body: string, secret = SECRET): Promise<string> {
  const token = new AccessToken(KEY, secret, { ttl: 3600 });
  token.sha256 = createHash('sha256').update(body).digest('base64');
  return token.toJwt();
}

function event(more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    event: 'participant_left',
    id: `EV_${Math.abs(JSON.stringify(more).length)}`,
    createdAt: String(Math.floor(NOW.wallMs / 1000)),
    room: { sid: 'RM_1', name: 'room ☎' },
    participant: {
      sid: 'PA_1',
      identity: 'ann',
      state: 'DISCONNECTED',
      kind: 'SIP',
      disconnectReason: 'CLIENT_INITIATED',
      attributes: { 'sip.callStatus': 'active' },
    },
    ...more,
  });
}

const receive = async (body: string, hooks = new Webhooks({ apiKey: KEY, apiSecret: SECRET })) =>
  hooks.receive(body, await sign(body), NOW);

describe('a webhook', () => {
  it('is translated, with the receipt as its time', async () => {
    expect(await receive(event())).toEqual({
      room: { project: 'default', name: 'room ☎' },
      event: expect.objectContaining({
        kind: 'left',
        roomSid: 'RM_1',
        reason: 'client_initiated',
        at: NOW,
        participant: expect.objectContaining({ identity: 'ann', kind: 'sip', sipCallStatus: 'active' }),
      }),
    });
  });

  it.each([
    ['participant_joined', 'joined'],
    ['participant_connection_aborted', 'left'],
    ['room_finished', 'finished'],
    ['room_started', 'changed'],
    ['track_published', 'changed'],
  ])('%s is %s', async (name, kind) => {
    expect((await receive(event({ event: name })))?.event.kind).toBe(kind);
  });

  it.each([['egress_started'], ['something_of_a_later_livekit']])('%s is passed over', async (name) => {
    expect(await receive(event({ event: name }))).toBeNull();
  });

  it('that comes again is passed over', async () => {
    const hooks = new Webhooks({ apiKey: KEY, apiSecret: SECRET });
    expect(await receive(event(), hooks)).not.toBeNull();
    expect(await receive(event(), hooks)).toBeNull();
  });

  it('without a room is passed over', async () => {
    expect(await receive(event({ room: undefined }))).toBeNull();
  });

  it('signed by somebody else, for another body, or not at all is refused', async () => {
    const hooks = new Webhooks({ apiKey: KEY, apiSecret: SECRET });
    const body = event();
    const refused = expect.objectContaining({ code: 'bad_signature' });
    await expect(
      hooks.receive(body, await sign(body, 'another-secret-that-is-long-enough-too'), NOW),
    ).rejects.toEqual(refused);
    await expect(hooks.receive(event({ event: 'room_finished' }), await sign(body), NOW)).rejects.toEqual(
      refused,
    );
    await expect(hooks.receive(body, undefined, NOW)).rejects.toEqual(refused);
    await expect(hooks.receive(body, 'not a token', NOW)).rejects.toEqual(refused);
    await expect(hooks.receive('', await sign(body), NOW)).rejects.toEqual(refused);
    await expect(hooks.receive('{"event":', await sign('{"event":'), NOW)).rejects.toEqual(refused);
  });

  it('that is old is refused as stale', async () => {
    const createdAt = String(Math.floor((NOW.wallMs - PRESENCE.webhookMaxAgeMs) / 1000) - 1);
    await expect(receive(event({ createdAt }))).rejects.toThrow(/stale/);
  });
});
