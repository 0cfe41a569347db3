/** Makes the worker's token: access to its own room with kind agent. Only the acceptance of an agent can add the grant `agent`. */
import type { VideoGrant } from 'livekit-server-sdk';
import { AccessToken } from 'livekit-server-sdk';
import type { RoomKey } from '../../../core/ids.ts';
import type { Acceptance, AgentPermissions } from '../../../core/model/agent-answer.ts';

export interface TokenGrant {
  readonly room: RoomKey;
  readonly identity: string;
  readonly ttlMs: number;
  readonly as?: Acceptance;
}

export function makeWorkerToken(
  keys: { apiKey: string; apiSecret: string },
  { room, identity, ttlMs, as }: TokenGrant,
): Promise<string> {
  // Because: the SDK reads 0 as its default of six hours.
  const ttl = Math.max(1, Math.ceil(ttlMs / 1000));
  const participant =
    as === undefined ? {} : { name: as.name, metadata: as.metadata, attributes: { ...as.attributes } };
  const token = new AccessToken(keys.apiKey, keys.apiSecret, { identity, ttl, ...participant });
  token.kind = 'agent';
  token.addGrant({
    room: room.name,
    roomJoin: true,
    ...grantsOf(as?.permissions ?? null),
    // The claim `kind` is enough for curfew. The grant would let a worker without keys register for jobs of other rooms.
    ...(as?.agentGrant === true && { agent: true }),
  });
  return token.toJwt();
}

/** Under LiveKit's own runner the permissions of the agent's registration count. */
function grantsOf(permissions: AgentPermissions | null): VideoGrant {
  if (permissions === null)
    return { canPublish: true, canSubscribe: true, canPublishData: true, canUpdateOwnMetadata: true };
  const { canUpdateMetadata: canUpdateOwnMetadata, hidden, ...grants } = permissions;
  // LiveKit's own token names this grant only where it is true.
  return { ...grants, canUpdateOwnMetadata, ...(hidden && { hidden }) };
}
