/**
 * Shows LiveKit's real address and keys to the code of a process, and to its children only when it is an agent.
 * Because: a program may import the framework and then run the agent as a child without the launcher. With the real values in
 * its environment that child would register at LiveKit itself. So children get curfew's own values, and beside them the real
 * ones under curfew's names, until this process registers an agent or runs a job.
 */
import childProcess from 'node:child_process';

export const NAMES = ['LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET'];
/** `full` in the environment of an agent's children: the variables of LiveKit have the real values. */
export const GRANTED = 'CURFEW_ACCESS';
/** curfew's own values, with which the process starts. */
export const own = Object.fromEntries(NAMES.map((name) => [name, process.env[`CURFEW_${name}`]]));

const SYNC_STARTS = ['spawnSync', 'execFileSync', 'execSync'];

/** The real values, while the children do not get them. */
let shown = null;

/** Values that the agent's code has set by now, such as from a .env file, stay. */
export function show(real) {
  for (const name of NAMES) {
    delete process.env[`CURFEW_REAL_${name}`];
    if ((process.env[name] ?? own[name]) === own[name]) process.env[name] = real[name];
  }
  shown = real;
}

/** The framework that was loaded is unknown after all. */
export function hide() {
  for (const name of NAMES)
    if (shown !== null && process.env[name] === shown[name]) process.env[name] = own[name];
  shown = null;
}

/** From now on this process is an agent, and its children have its whole environment, as under LiveKit's own runner. */
export function passOn() {
  if (shown === null) return;
  shown = null;
  process.env[GRANTED] = 'full';
}

/** `spawn`, `exec`, `execFile` and `fork` all end in `ChildProcess.spawn`. */
export function watchStarts() {
  const { spawn } = childProcess.ChildProcess.prototype;
  childProcess.ChildProcess.prototype.spawn = function spawnWithOwn(options, ...rest) {
    const pairs = options?.envPairs;
    const given =
      Array.isArray(pairs) && shown !== null ? { ...options, envPairs: ownPairs(pairs) } : options;
    return Reflect.apply(spawn, this, [given, ...rest]);
  };
  for (const name of SYNC_STARTS) {
    const start = childProcess[name];
    childProcess[name] = function startWithOwn(...args) {
      return Reflect.apply(start, this, shown === null ? args : withOptions(args));
    };
  }
  const { execve } = process;
  if (execve === undefined) return;
  process.execve = function execWithOwn(file, args, env = process.env) {
    return Reflect.apply(execve, process, [file, args, shown === null ? env : forChild(env)]);
  };
}

function ownPairs(pairs) {
  return Object.entries(forChild(Object.fromEntries(pairs.map(split)))).map(
    ([name, value]) => `${name}=${value}`,
  );
}

function split(pair) {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
}

/** The options are the last argument that is an object and no list. */
function withOptions(args) {
  const last = args.findLastIndex((one) => typeof one === 'object' && one !== null && !Array.isArray(one));
  const options = last === -1 ? {} : args[last];
  const given = { ...options, env: forChild(options.env ?? process.env) };
  return last === -1 ? [...args, given] : args.map((one, at) => (at === last ? given : one));
}

function forChild(env) {
  const given = { ...env };
  for (const name of NAMES) {
    if (given[name] === shown[name]) given[name] = own[name];
    given[`CURFEW_REAL_${name}`] ??= shown[name];
  }
  return given;
}
