/** Sends API calls with the worker's own keys to curfew, because no other server knows these keys. */
import { checkInference } from './inference.mjs';
import { claimsOf, OWN_KEY } from './own-keys.mjs';
import { fetchFromCurfew } from './own-requests.mjs';

export function redirectOwnCalls() {
  const { fetch } = globalThis;
  globalThis.fetch = function fetchWithOwnKeys(input, init) {
    checkInference(authorizationOf(init));
    return isOwnCall(input, init) ? fetchFromCurfew(new URL(input).pathname, init) : fetch(input, init);
  };
}

/** The SDK calls fetch with a URL or a text, and with plain headers. */
function isOwnCall(input, init) {
  if (!(typeof input === 'string' || input instanceof URL) || !`${input}`.includes('/twirp/livekit.'))
    return false;
  const token = authorizationOf(init);
  return typeof token === 'string' && claimsOf(token).iss === OWN_KEY;
}

function authorizationOf(init) {
  const headers = init?.headers;
  return headers instanceof Headers
    ? headers.get('authorization')
    : (headers?.Authorization ?? headers?.authorization);
}
