/**
 * Runs the job in the worker's one process, where the profile asks for it. Because: each call has a worker of its own, and a
 * process for the job and an idle one beside it cost as much again.
 *
 * The framework still believes that it forks. Its module of the job's process runs here, with another `process`, whose channel
 * leads to the main part of the framework.
 */
import childProcess from 'node:child_process';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import * as modules from 'node:module';
import { pathToFileURL } from 'node:url';
import { note } from '../note.mjs';
import { Child, copyOf, IdleChild, pathOf } from './child-process.mjs';
import { adaptCompiled } from './compile-hook.mjs';
import { JOB_MODULE } from './entry-errors.mjs';
import { INFERENCE_MODULE, SharedInference } from './inference-client.mjs';
import { isZygote } from './inference-zygote.mjs';
import { useChannel } from './main-channel.mjs';

const KEY = 'curfew.job-process';
const SHADOW = `const process = globalThis[Symbol.for('${KEY}')];`;
/** The framework's module of the job's process must use these. */
const NEEDED = [/\bprocess\.send\b/, /\bprocess\.argv\[2\]/, /\bprocess\.exit\(0\)/];
/** The events of the channel. All other events are those of this process. */
const OF_CHANNEL = ['message', 'disconnect'];
const LISTENING = ['on', 'once', 'off', 'addListener', 'removeListener'];

export function runJobInMain() {
  if (process.env.CURFEW_ONE_PROCESS !== '1' || isZygote) return;
  if (modules.registerHooks === undefined) {
    note(
      `curfew: prefork: the launcher needs Node 22.15 or newer; the job of ${process.version} has a process of its own`,
    );
    return;
  }
  const { fork } = childProcess;
  let hasJob = false;
  childProcess.fork = function forkOrRunHere(file, args, options) {
    const path = pathOf(file);
    if (INFERENCE_MODULE.test(path) && SharedInference.isOffered)
      return new SharedInference(args, () => fork(file, args, options));
    if (!JOB_MODULE.test(path)) return fork(file, args, options);
    if (hasJob) return new IdleChild();
    const lacking = NEEDED.find((words) => !words.test(readFileSync(path, 'utf8')));
    if (lacking !== undefined) {
      note(`curfew: prefork: ${path} has no ${lacking}, so the job has a process of its own`);
      return fork(file, args, options);
    }
    hasJob = true;
    return new JobChild(path, args);
  };
  shadowProcess();
}

/** The module of the job's process has another `process` than the rest of the program. */
function shadowProcess() {
  const shadowed = (source) => (source.includes(SHADOW) ? source : `${SHADOW}${source}`);
  modules.registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!JOB_MODULE.test(url) || !loaded.source) return loaded;
      return { ...loaded, source: shadowed(Buffer.from(loaded.source).toString()) };
    },
  });
  adaptCompiled(JOB_MODULE, (_path, source) => shadowed(source));
}

/** The job, in this process. */
class JobChild extends Child {
  #channel = new EventEmitter();

  constructor(path, args) {
    super();
    globalThis[Symbol.for(KEY)] = this.#shadow();
    useChannel((message) => {
      this.tell(message);
      return true;
    });
    // As in a process of its own: the agent's file runs no command line, should it run again.
    process.argv = [process.argv[0], path, ...args];
    setImmediate(() => void import(pathToFileURL(path).href));
  }

  send(message) {
    const copy = copyOf(message);
    setImmediate(() => this.#channel.emit('message', copy));
    return true;
  }

  /** The framework kills a job that is not ready in time, does not answer, or does not end. Nothing else can end it here. */
  kill() {
    note('curfew: the framework has killed the job. Job and worker are one process, so the worker ends');
    process.exit(1);
  }

  #shadow() {
    const own = {
      connected: true,
      send: (message) => {
        this.tell(message);
        return true;
      },
      exit: (code = 0) => this.ends(code),
    };
    for (const name of LISTENING)
      own[name] = (event, listener) => {
        const target = OF_CHANNEL.includes(event) ? this.#channel : process;
        target[name](event, listener);
        return globalThis[Symbol.for(KEY)];
      };
    return new Proxy(process, {
      get(target, name) {
        if (Object.hasOwn(own, name)) return own[name];
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}
