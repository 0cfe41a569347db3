/** The keys of this worker alone, with which it signs its calls to curfew. */
import { createHmac } from 'node:crypto';

const { LIVEKIT_URL = '', LIVEKIT_API_KEY = '', LIVEKIT_API_SECRET = '' } = process.env;

/** Whether curfew started this process. */
export const isOfCurfew = LIVEKIT_API_KEY.startsWith('curfew-');
export const HTTP_URL = LIVEKIT_URL.replace(/^ws/, 'http');
export const OWN_KEY = LIVEKIT_API_KEY;

export function ownToken() {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const claims = { iss: LIVEKIT_API_KEY, nbf: nowSeconds - 60, exp: nowSeconds + 60 };
  const content = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${content}.${createHmac('sha256', LIVEKIT_API_SECRET).update(content).digest('base64url')}`;
}
