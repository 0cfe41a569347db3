/** A session's own token. It lets a browser watch, keep alive and release that session only. The token is derived, never stored. */
import { createHmac, timingSafeEqual } from 'node:crypto';

const PREFIX = 'cs1.';

export function makeSessionToken(masterKey: Buffer, id: string): string {
  return `${PREFIX}${Buffer.from(id).toString('base64url')}.${mac(masterKey, id)}`;
}

/** Returns the session's id; null: not a token of this instance. */
export function readSessionToken(masterKey: Buffer, token: string): string | null {
  if (!token.startsWith(PREFIX)) return null;
  const [encoded, given, ...rest] = token.slice(PREFIX.length).split('.');
  if (encoded === undefined || given === undefined || rest.length > 0) return null;
  const id = Buffer.from(encoded, 'base64url').toString();
  const expected = Buffer.from(mac(masterKey, id));
  const actual = Buffer.from(given);
  return expected.length === actual.length && timingSafeEqual(expected, actual) ? id : null;
}

function mac(masterKey: Buffer, id: string): string {
  return createHmac('sha256', masterKey).update(`session:${id}`).digest('base64url');
}
