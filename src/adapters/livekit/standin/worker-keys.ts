/** Makes the LiveKit keys of one worker, and verifies that a connection or a call comes from it. */
import { createHmac } from 'node:crypto';
import type { ClaimGrants } from 'livekit-server-sdk';
import { TokenVerifier } from 'livekit-server-sdk';
import type { WorkerId } from '../../../core/ids.ts';
import { workerId } from '../../../core/ids.ts';
import type { Instance } from '../../../ports/instance.ts';

export interface Keys {
  readonly apiKey: string;
  readonly apiSecret: string;
}

export interface Caller {
  readonly workerId: WorkerId;
  readonly grants: ClaimGrants;
}

const KEY_PREFIX = 'curfew-';

/** Derives the keys from the master key. So they stay valid over a restart, and no file stores them. */
export function keysFor({ masterKey }: Instance, id: WorkerId): Keys {
  const apiSecret = createHmac('sha256', masterKey).update(`livekit:${id}`).digest('base64url');
  return { apiKey: `${KEY_PREFIX}${id}`, apiSecret };
}

/** Resolves with the worker that signed the token. `null`: no worker of this instance signed it. */
export async function verifyCaller(
  instance: Instance,
  authorization: string | undefined,
): Promise<Caller | null> {
  const token = /^Bearer\s+(\S+)$/i.exec(authorization ?? '')?.[1];
  const issuer = token === undefined ? null : issuerOf(token);
  if (token === undefined || issuer === null || !issuer.startsWith(KEY_PREFIX)) return null;
  const id = workerId(issuer.slice(KEY_PREFIX.length));
  const { apiKey, apiSecret } = keysFor(instance, id);
  try {
    return { workerId: id, grants: await new TokenVerifier(apiKey, apiSecret).verify(token) };
  } catch {
    return null;
  }
}

/** The issuer that the token claims. The signature is not verified yet. */
function issuerOf(token: string): string | null {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const issuer = typeof claims === 'object' && claims !== null && 'iss' in claims ? claims.iss : null;
    return typeof issuer === 'string' ? issuer : null;
  } catch {
    return null;
  }
}
