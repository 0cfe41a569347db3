/**
 * Changes the framework's server. A worker has one job at most, and curfew decides on admission.
 *
 * - The health server uses any free port, so that several agents can run on one host.
 * - The framework keeps one idle job process, not one per core.
 * - The worker tries to connect for as long as curfew does not run, because giving up would end its call. This needs Node
 *   22.15; on older versions the worker gives up.
 */
import * as modules from 'node:module';
import net from 'node:net';
import os from 'node:os';
import { WORKER_MODULE } from './access.mjs';
import { adaptCompiled } from './compile-hook.mjs';

const ATTEMPTS = /(\bMAX_RECONNECT_ATTEMPTS =) \d+\b/;

/** Words in the code of the health server's listener. The port does not identify the server: the agent's code may set it. */
const HEALTH = ['/worker', 'healthCheck', 'workerListener'];

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
    return String(new Error().stack).includes('.numIdleProcesses') ? 1 : availableParallelism();
  };
}

function reconnectForEver() {
  const withoutEnd = (source) => source.replace(ATTEMPTS, '$1 Infinity');
  modules.registerHooks?.({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!WORKER_MODULE.test(url) || !loaded.source) return loaded;
      return { ...loaded, source: withoutEnd(Buffer.from(loaded.source).toString()) };
    },
  });
  adaptCompiled(WORKER_MODULE, (_path, source) => withoutEnd(source));
}

export function changeServerSettings() {
  useAnyHealthPort();
  keepOneIdleProcess();
  reconnectForEver();
}
