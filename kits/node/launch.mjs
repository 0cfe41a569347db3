/**
 * Runs several LiveKit agents on one host without a clash. curfew gives it to workers with `protocol: livekit`, by NODE_OPTIONS=--import.
 * A worker has one job at most: the framework's health server takes any free port, and one idle job process is kept, not one per core.
 * Every Node process below the worker reads this file; nothing else that it does is changed. Tried with @livekit/agents 1.9.0.
 */
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import os from 'node:os';

const { listen } = net.Server.prototype;
const { availableParallelism } = os;

net.Server.prototype.listen = function listenBesideOthers(...args) {
  if (typeof args[0] === 'number' && isHealthServer(this)) args[0] = 0;
  return Reflect.apply(listen, this, args);
};

/** By what it answers: its port may be set in the agent's own code. */
function isHealthServer(server) {
  return server.listeners('request').some((listener) => HEALTH.every((word) => `${listener}`.includes(word)));
}

const HEALTH = ['/worker', 'healthCheckListener', 'workerListener'];

os.availableParallelism = function availableParallelismForAgents() {
  return new Error().stack?.includes('.numIdleProcesses') ? 1 : availableParallelism();
};
syncBuiltinESMExports();
