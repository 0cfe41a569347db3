/** The worker's token: its own room, kind agent, nothing more. */
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
  // Less than a second would be 0, which the SDK takes for its default of six hours.
  const ttl = Math.max(1, Math.ceil(ttlMs / 1000));
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { identity, ttl });
  // The claim alone makes the kind; the grant `agent` would also let the worker register for other rooms' jobs.
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
