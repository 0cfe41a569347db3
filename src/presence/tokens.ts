/** The worker's token: its own room, kind agent, nothing more. */
import { AccessToken } from 'livekit-server-sdk';
import type { RoomKey } from '../core/ids.ts';

export interface TokenGrant {
  readonly room: RoomKey;
  readonly identity: string;
  readonly ttlMs: number;
}

export function makeWorkerToken(
  keys: { apiKey: string; apiSecret: string },
  { room, identity, ttlMs }: TokenGrant,
): Promise<string> {
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { identity, ttl: Math.ceil(ttlMs / 1000) });
  token.kind = 'agent';
  token.addGrant({
    room: room.name,
    roomJoin: true,
    canPublish: true,
    canSubscribe: true,
    canPublishData: true,
    canUpdateOwnMetadata: true,
  });
  return token.toJwt();
}
