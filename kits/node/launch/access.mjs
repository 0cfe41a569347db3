/**
 * Gives the agent LiveKit's real address and keys, as LiveKit's own runner does, where the profile has
 * `livekit_access: full`. It fails closed: without every name of the framework that it needs, the environment keeps
 * curfew's address and keys.
 */

import { readFileSync } from 'node:fs';
import * as modules from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { GRANTED, hide, NAMES, own, passOn, show } from './child-env.mjs';
import { adaptCompiled } from './compile-hook.mjs';
import { frameworkOf } from './early.mjs';

/** The process of a job is forked by an agent, so its children have its whole environment. */
const JOB_PROCESS = /\/@livekit\/agents\/dist\/ipc\/[a-z_]+\.c?js$/;
/** The framework's module with its server and its registration. */
export const WORKER_MODULE = /\/@livekit\/agents\/dist\/worker\.c?js$/;
/** The framework's own words for its registration: the package `ws`, its token and its path. */
const NEEDED = [/["']ws["']/, /new (\w+\.)?WebSocket\(/, /AccessToken\(/, /["']agent["']/];

/** `granted` is `full`, or `room` with the reason why the worker has less than its profile grants. */
export const access = { granted: 'room', why: '' };

export function giveRealAccess() {
  const real = readReal();
  if (real === null && process.env[GRANTED] !== 'full') return;
  const { registerHooks } = modules;
  access.why =
    registerHooks === undefined
      ? `the launcher needs Node 22.15 or newer for this; the agent runs with ${process.version}`
      : 'the module worker.js of @livekit/agents was not loaded';
  if (real === null && registerHooks === undefined) takeBack();
  if (real !== null && registerHooks !== undefined) giveEarly(real);
  if (registerHooks === undefined) return;
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (WORKER_MODULE.test(url) && access.granted === 'room') tryToGive(real, url, loaded);
      return loaded;
    },
  });
  adaptCompiled(WORKER_MODULE, (path, source) => {
    if (access.granted === 'room') tryToGive(real, pathToFileURL(path), {});
    return source;
  });
}

/** The module of the framework is checked again when it is loaded. */
function giveEarly(real) {
  try {
    const source = frameworkOf(process.argv[1]);
    if (source !== null && NEEDED.every((words) => words.test(source))) show(real);
  } catch {
    // The program cannot be read, or has no framework. Then the values wait for the framework's import.
  }
}

/** LiveKit's real values. `null`: the profile grants the room alone, or the process of an agent is the parent. */
function readReal() {
  const real = NAMES.map((name) => [name, process.env[`CURFEW_REAL_${name}`] ?? '']);
  return real.every(([, value]) => value !== '') ? Object.fromEntries(real) : null;
}

/** The agent's import goes on, and it runs with less, where the source cannot be read. */
function tryToGive(real, url, loaded) {
  try {
    give(real, sourceOf(url, loaded));
  } catch (error) {
    takeBack();
    access.why = `worker.js of @livekit/agents could not be read: ${error}`;
  }
}

/**
 * ESM modules are loaded before the first one runs, so the agent's own code sees the real values from its first line.
 * The real values stay under curfew's names until now, because a program such as npm passes them on to the agent.
 * `real` null: the environment has the real values, because an agent is the parent.
 */
function give(real, source) {
  const lacking = NEEDED.find((words) => !words.test(source));
  if (lacking !== undefined) {
    access.why = `this version of @livekit/agents has no ${lacking} in worker.js`;
    takeBack();
    return;
  }
  if (real !== null) show(real);
  if (JOB_PROCESS.test(process.argv[1] ?? '')) passOn();
  access.granted = 'full';
  access.why = '';
}

/** The environment has curfew's values from now on, also for the children of this process. */
function takeBack() {
  if (process.env[GRANTED] === 'full') Object.assign(process.env, own);
  delete process.env[GRANTED];
  hide();
}

/** A loader may leave the source of a CommonJS module out. */
function sourceOf(url, { source }) {
  return Buffer.from(source ?? readFileSync(fileURLToPath(url))).toString();
}
