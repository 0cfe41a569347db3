/** The keys of this worker alone, with which it signs its calls to curfew. */
import { createHmac } from 'node:crypto';

const { CURFEW_LIVEKIT_URL = '', CURFEW_LIVEKIT_API_KEY = '', CURFEW_LIVEKIT_API_SECRET = '' } = process.env;

/** Whether curfew started this process. */
export const isOfCurfew = CURFEW_LIVEKIT_API_KEY !== '';
export const HTTP_URL = CURFEW_LIVEKIT_URL.replace(/^ws/, 'http');
export const OWN_KEY = CURFEW_LIVEKIT_API_KEY;

/** Longer than a stop: a process can be stopped between the signature and the request, or curfew before it reads the request. */
const TOKEN_SECONDS = 3600;

/** `video`: the grant. A call of our own to curfew needs none. */
export function ownToken(video) {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const claims = { iss: OWN_KEY, nbf: nowSeconds - TOKEN_SECONDS, exp: nowSeconds + TOKEN_SECONDS, video };
  const content = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${content}.${createHmac('sha256', CURFEW_LIVEKIT_API_SECRET).update(content).digest('base64url')}`;
}

/** The claims of a bearer token, without a check of its signature. {}: the text is no such token. */
export function claimsOf(authorization) {
  try {
    return JSON.parse(Buffer.from(`${authorization}`.split('.')[1] ?? '', 'base64url').toString()) ?? {};
  } catch {
    return {};
  }
}
