/**
 * Fits a LiveKit agent into curfew. curfew gives it to workers with `protocol: livekit`, by NODE_OPTIONS=--import. Tried with @livekit/agents 1.9.0.
 * Every Node process below the worker reads this file; whatever else such a process does is left as it is.
 *
 * - The framework's health server takes any free port, so that several agents run on one host.
 * - One job process is kept idle, not one per core: a worker has one job at most.
 * - The worker tries to connect for as long as curfew is away: giving up would end its call. Node 22.15 or newer; older ones give up.
 * - The end of the job is told: the framework itself never tells it.
 * - API calls that are signed with the worker's own keys go to curfew, which is the only one that knows them.
 */
import childProcess from 'node:child_process';
import { createHmac } from 'node:crypto';
import * as modules from 'node:module';
import net from 'node:net';
import os from 'node:os';

const { LIVEKIT_URL = '', LIVEKIT_API_KEY = '', LIVEKIT_API_SECRET = '' } = process.env;
const HTTP_URL = LIVEKIT_URL.replace(/^ws/, 'http');
const REPORT_AGAIN_MS = 2000;

const WORKER_MODULE = /\/@livekit\/agents\/dist\/worker\.c?js$/;
const ATTEMPTS = /(\bMAX_RECONNECT_ATTEMPTS =) \d+\b/;

/** By what it answers: its port may be set in the agent's own code. */
const HEALTH = ['/worker', 'healthCheckListener', 'workerListener'];

function isHealthServer(server) {
  return server.listeners('request').some((listener) => HEALTH.every((word) => `${listener}`.includes(word)));
}

function freeThePort() {
  const { listen } = net.Server.prototype;
  net.Server.prototype.listen = function listenBesideOthers(...args) {
    if (typeof args[0] === 'number' && isHealthServer(this)) args[0] = 0;
    return Reflect.apply(listen, this, args);
  };
}

function keepOneIdle() {
  const { availableParallelism } = os;
  os.availableParallelism = function availableParallelismForAgents() {
    return new Error().stack?.includes('.numIdleProcesses') ? 1 : availableParallelism();
  };
}

function neverGiveUp() {
  modules.registerHooks?.({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!WORKER_MODULE.test(url) || !loaded.source) return loaded;
      const source = Buffer.from(loaded.source).toString().replace(ATTEMPTS, '$1 Infinity');
      return { ...loaded, source };
    },
  });
}

function tellTheEnd() {
  const { fork } = childProcess;
  childProcess.fork = function forkAndWatch(...args) {
    const child = fork(...args);
    const { send } = child;
    child.send = function sendAndWatch(message, ...rest) {
      const jobId = message?.case === 'startJobRequest' ? message.value?.runningJob?.job?.id : undefined;
      if (typeof jobId === 'string') watch(child, jobId);
      return Reflect.apply(send, child, [message, ...rest]);
    };
    return child;
  };
}

function watch(child, jobId) {
  let reason = '';
  child.on('message', (message) => {
    if (message?.case === 'exiting') reason = `${message.value?.reason ?? ''}`;
  });
  child.once('exit', (code, signal) => {
    const error =
      code === 0 ? (reason === 'job crashed' ? reason : '') : `job process ended: ${signal ?? code}`;
    void report({ jobId, status: error === '' ? 'JS_SUCCESS' : 'JS_FAILED', error });
  });
}

/** Until it is heard: after a restart curfew knows the worker again once it is connected. */
async function report(status) {
  const response = await fetch(`${HTTP_URL}/curfew/job`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ownToken()}`, 'content-type': 'application/json' },
    body: JSON.stringify(status),
  }).catch(() => null);
  if (response === null || response.status === 503)
    setTimeout(() => void report(status), REPORT_AGAIN_MS).unref();
}

function ownToken() {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const claims = { iss: LIVEKIT_API_KEY, nbf: nowSeconds - 60, exp: nowSeconds + 60 };
  const content = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${content}.${createHmac('sha256', LIVEKIT_API_SECRET).update(content).digest('base64url')}`;
}

function keepOwnCallsHere() {
  const { fetch } = globalThis;
  globalThis.fetch = function fetchWithOwnKeys(input, init) {
    return fetch(isOwnCall(input, init) ? new URL(new URL(input).pathname, HTTP_URL) : input, init);
  };
}

/** The SDK calls with a URL, or its text, and plain headers. */
function isOwnCall(input, init) {
  if (!(typeof input === 'string' || input instanceof URL) || !`${input}`.includes('/twirp/livekit.'))
    return false;
  const token = init?.headers?.Authorization ?? init?.headers?.authorization;
  if (typeof token !== 'string') return false;
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    return claims.iss === LIVEKIT_API_KEY;
  } catch {
    return false;
  }
}

if (LIVEKIT_API_KEY.startsWith('curfew-')) {
  freeThePort();
  keepOneIdle();
  neverGiveUp();
  tellTheEnd();
  keepOwnCallsHere();
  modules.syncBuiltinESMExports();
}
