/** The address and the keys with which a LiveKit agent joins its room. */
import { TokenVerifier } from 'livekit-server-sdk';
import { describe, expect, it } from 'vitest';
import { createRooms } from '../../src/adapters/livekit/rooms/livekit-rooms.ts';
import { profileKeys } from '../../src/adapters/livekit/standin/agent-env.ts';
import type { LiveKitKeys, Profile } from '../../src/core/model/profile.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { StandIn } from '../../src/ports/stand-in.ts';
import { RoomTokens } from '../../src/runtime/rooms/room-tokens.ts';
import { Play, profile } from '../core/support.ts';

const OURS = {
  url: 'http://inside:7880',
  apiKey: 'ours',
  apiSecret: 'a-secret-of-the-supervisor-that-is-long',
};
const OWN = {
  url: 'https://outside.example.com',
  apiKey: 'own',
  apiSecret: 'a-secret-of-the-agent-that-is-long',
};
const ACCEPTANCE = {
  kind: 'accepted',
  identity: '',
  name: 'Ada',
  metadata: '',
  attributes: {},
  permissions: null,
  agentGrant: true,
} as const;

/** `section`: `agents.X.livekit`. `file`: the variables of `env_file`. */
async function joins(
  more: Partial<Profile>,
  { section = null, file = {} }: { section?: LiveKitKeys | null; file?: Record<string, string> } = {},
): Promise<{ url: string; key: string }> {
  const standIn: Partial<StandIn> = {
    livekitFor: (one) =>
      profileKeys(one, { own: section, ours: OURS, readEnvFile: () => Promise.resolve(file) }),
  };
  const rooms = createRooms({ livekit: OURS, clock: {} as Clock, pollEveryMs: 1000 });
  const tokens = new RoomTokens({ rooms, standIn: standIn as StandIn });
  const { session } = Play.live({
    profile: profile({ protocol: 'livekit', livekitAccess: 'full', ...more }),
  });
  const { url, token } = await tokens.admit(session, ACCEPTANCE);
  const keys = [OURS, OWN].find(({ apiKey }) => issuerOf(token) === apiKey) ?? OURS;
  const { video } = await new TokenVerifier(keys.apiKey, keys.apiSecret).verify(token);
  expect(video).toMatchObject({ room: session.spec.room.name, roomJoin: true });
  return { url, key: keys.apiKey };
}

function issuerOf(token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).iss;
}

describe('a LiveKit agent joins its room', () => {
  const at = (url: string, key: string) => ({ url, key });
  const names = { LIVEKIT_URL: OWN.url, LIVEKIT_API_KEY: OWN.apiKey, LIVEKIT_API_SECRET: OWN.apiSecret };

  it('where the supervisor sees LiveKit, without an address of its own', async () => {
    expect(await joins({})).toEqual(at('ws://inside:7880', 'ours'));
  });

  it('at the address and with the keys of its own section, env or env_file', async () => {
    const own = at('wss://outside.example.com', 'own');
    expect(await joins({}, { section: OWN })).toEqual(own);
    expect(await joins({ env: names })).toEqual(own);
    expect(await joins({ envFile: '/srv/agent/.env' }, { file: names })).toEqual(own);
  });

  it("with the supervisor's keys, where its env has an address alone", async () => {
    expect(await joins({ env: { LIVEKIT_URL: OWN.url } })).toEqual(at('wss://outside.example.com', 'ours'));
  });

  it('where the supervisor sees LiveKit, with `livekit_access: room`', async () => {
    expect(await joins({ livekitAccess: 'room' }, { section: OWN })).toEqual(at('ws://inside:7880', 'ours'));
  });
});
