/**
 * Adapts a LiveKit agent to curfew. curfew sets NODE_OPTIONS=--import with this file for workers with
 * `protocol: livekit`. Tested with @livekit/agents 1.9.0.
 * Each Node process below the worker loads this file. It changes only these things:
 *
 * - The framework's health server uses any free port, so that several agents can run on one host.
 * - The framework keeps one idle job process, not one per core, because a worker has one job at most.
 * - The worker tries to connect for as long as curfew does not run, because giving up would end its call. This needs Node
 *   22.15; on older versions the worker gives up.
 * - curfew gets a report of the job's end, which the framework never sends.
 * - API calls with the worker's own keys go to curfew, because no other server knows these keys.
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

/** Words in the code of the health server's listener. The port does not identify the server: the agent's code may set it. */
const HEALTH = ['/worker', 'healthCheckListener', 'workerListener'];

function isHealthServer(server) {
  return server.listeners('request').some((listener) => HEALTH.every((word) => `${listener}`.includes(word)));
}

function useAnyHealthPort() {
  const { listen } = net.Server.prototype;
  net.Server.prototype.listen = function listenBesideOthers(...args) {
    if (typeof args[0] === 'number' && isHealthServer(this)) args[0] = 0;
    return Reflect.apply(listen, this, args);
  };
}

function keepOneIdleProcess() {
  const { availableParallelism } = os;
  os.availableParallelism = function availableParallelismForAgents() {
    return new Error().stack?.includes('.numIdleProcesses') ? 1 : availableParallelism();
  };
}

function reconnectForEver() {
  modules.registerHooks?.({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!WORKER_MODULE.test(url) || !loaded.source) return loaded;
      const source = Buffer.from(loaded.source).toString().replace(ATTEMPTS, '$1 Infinity');
      return { ...loaded, source };
    },
  });
}

function reportJobEnds() {
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

/** Repeats until curfew accepts the report. After a restart curfew answers 503 until the worker has reconnected. */
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

function redirectOwnCalls() {
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
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    return claims.iss === LIVEKIT_API_KEY;
  } catch {
    return false;
  }
}

if (LIVEKIT_API_KEY.startsWith('curfew-')) {
  useAnyHealthPort();
  keepOneIdleProcess();
  reconnectForEver();
  reportJobEnds();
  redirectOwnCalls();
  modules.syncBuiltinESMExports();
}
