/**
 * Every registration of an agent goes to curfew, also where the agent's own code has LiveKit's address and keys.
 * Because: a registration at LiveKit itself would take calls past curfew. A registration is a WebSocket to /agent whose
 * token has the grant `agent`. No other token has this grant and names no room.
 */
import http from 'node:http';
import https from 'node:https';
import { access } from './access.mjs';
import { passOn } from './child-env.mjs';
import { checkInference } from './inference.mjs';
import { isZygote, stopAtRegistration } from './inference-zygote.mjs';
import { claimsOf, ownToken } from './own-keys.mjs';
import { toCurfew } from './own-requests.mjs';
import { running } from './report-end.mjs';

export function registerAtCurfew() {
  const { request } = http;
  for (const module of [http, https]) {
    const original = module.request;
    module.request = function requestOrRegister(...args) {
      checkInference(authorizationOf(args[0]));
      if (!isRegistration(args[0])) return Reflect.apply(original, this, args);
      return isZygote ? stopAtRegistration() : request(atCurfew(args[0]));
    };
  }
}

/** The package `ws` calls `request` with one object. */
function isRegistration(options) {
  if (options === null || typeof options !== 'object') return false;
  if (!/\/agent\/?(\?.*)?$/.test(`${options.path ?? ''}`)) return false;
  const { video } = claimsOf(authorizationOf(options) ?? '');
  return video?.agent === true && !video.room;
}

function authorizationOf(options) {
  const { headers } = options ?? {};
  const name = Object.keys(headers ?? {}).find((one) => one.toLowerCase() === 'authorization');
  return name === undefined ? undefined : headers[name];
}

function atCurfew(options) {
  passOn();
  const kept = Object.entries(options.headers).filter(([name]) => !/^(authorization|host)$/i.test(name));
  return {
    ...options,
    ...toCurfew(),
    path: '/agent',
    auth: undefined,
    defaultPort: 80,
    headers: {
      ...Object.fromEntries(kept),
      Authorization: `Bearer ${ownToken({ agent: true })}`,
      'X-Curfew-Access': access.granted,
      // Because: a curfew that starts again must not give the job to this worker a second time.
      'X-Curfew-Job': running.jobId,
      'X-Curfew-Why': access.why.replace(/[^ -~]/g, '?').slice(0, 300),
    },
  };
}
