/** Makes the worker's token: access to its own room with kind agent, and to nothing else. */
import { AccessToken } from 'livekit-server-sdk';
import type { RoomKey } from '../../../core/ids.ts';

export interface TokenGrant {
  readonly room: RoomKey;
  readonly identity: string;
  readonly ttlMs: number;
}

export function makeWorkerToken(
  keys: { apiKey: string; apiSecret: string },
  { room, identity, ttlMs }: TokenGrant,
): Promise<string> {
  // Because: the SDK reads 0 as its default of six hours.
  const ttl = Math.max(1, Math.ceil(ttlMs / 1000));
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { identity, ttl });
  // The claim `kind` is enough. The grant `agent` would also let the worker register for jobs of other rooms.
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
