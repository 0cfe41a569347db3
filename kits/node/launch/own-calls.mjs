/** Sends API calls with the worker's own keys to curfew, because no other server knows these keys. */
import { claimsOf, HTTP_URL, OWN_KEY } from './own-keys.mjs';

export function redirectOwnCalls() {
  const { fetch } = globalThis;
  globalThis.fetch = function fetchWithOwnKeys(input, init) {
    return fetch(isOwnCall(input, init) ? new URL(new URL(input).pathname, HTTP_URL) : input, init);
  };
}

/** The SDK calls fetch with a URL or a text, and with plain headers. */
function isOwnCall(input, init) {
  if (!(typeof input === 'string' || input instanceof URL) || !`${input}`.includes('/twirp/livekit.'))
    return false;
  const token = init?.headers?.Authorization ?? init?.headers?.authorization;
  if (typeof token !== 'string') return false;
  return claimsOf(token).iss === OWN_KEY;
}
