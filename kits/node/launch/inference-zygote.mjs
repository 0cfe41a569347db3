/**
 * Makes this process a zygote of a JavaScript agent. Node cannot fork it, so it shares what can be shared: the framework's
 * inference process, with its models. It runs the agent's file up to the registration of the framework's worker, and registers
 * nowhere. It has no job.
 */
import childProcess from 'node:child_process';
import { createHash, timingSafeEqual } from 'node:crypto';
import { EventEmitter } from 'node:events';
import net from 'node:net';
import { note } from '../note.mjs';
import { IdleChild, pathOf } from './child-process.mjs';
import { JOB_MODULE } from './entry-errors.mjs';
import { addressOf, INFERENCE_MODULE, linesOf } from './inference-client.mjs';

const { CURFEW_ZYGOTE, CURFEW_WORKER = '', CURFEW_SOCKET = '', CURFEW_TOKEN = '' } = process.env;
const HELLO = {
  type: 'hello',
  v: 1,
  worker: CURFEW_WORKER,
  token: CURFEW_TOKEN,
  kit: { name: 'node-zygote', version: '0.1.0' },
};
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2000;
/** A supervisor that does not know this zygote starts another one. */
const UNKNOWN_MS = 60_000;
const FINAL = ['wrong_token', 'wrong_version', 'other_instance'];
const NOTHING = 'the agent registers no inference runner, so its workers have nothing to share';

export const isZygote = CURFEW_ZYGOTE === '1';

/** The framework's inference process. null: none is started yet. */
let inference = null;
let hasReported = false;

export function shareInference() {
  if (!isZygote) return;
  const { fork } = childProcess;
  childProcess.fork = function forkAndShare(file, args, options) {
    const path = pathOf(file);
    if (JOB_MODULE.test(path)) return new IdleChild();
    const child = fork(file, args, options);
    if (INFERENCE_MODULE.test(path)) inference = new Inference(child, args[0]);
    return child;
  };
}

/** The framework's worker would register now. The request that it gets in return never ends. */
export function stopAtRegistration() {
  if (!hasReported) {
    hasReported = true;
    if (inference === null) new Connection({ type: 'failed', message: NOTHING });
    else inference.share(() => new Connection({ type: 'ready' }));
  }
  const request = new EventEmitter();
  return Object.assign(request, { end: () => request, destroy: () => request, abort: () => undefined });
}

/** Answers the requests of all workers by the one process. */
class Inference {
  #child;
  #runners;
  #asked = new Map();
  #count = 0;

  constructor(child, runners) {
    this.#child = child;
    this.#runners = runners;
    const { emit } = child;
    child.emit = (name, message, ...rest) => {
      if (name === 'message' && message?.case === 'inferenceResponse' && this.#answer(message.value))
        return true;
      return Reflect.apply(emit, child, [name, message, ...rest]);
    };
    child.once('exit', (code, signal) => {
      note(`curfew: the shared inference process ended (${signal ?? code}), so the zygote ends`);
      process.exit(1);
    });
  }

  share(ready) {
    const server = net.createServer((socket) => this.#serve(socket));
    server.once('error', (error) => {
      note(`curfew: the inference process cannot be shared: ${error.message}`);
      process.exit(1);
    });
    server.listen({ path: addressOf(CURFEW_WORKER) }, ready);
  }

  #serve(socket) {
    let isKnown = false;
    const write = (message) => socket.writable && socket.write(`${JSON.stringify(message)}\n`);
    socket.on('error', () => undefined);
    linesOf(socket, (message) => {
      if (isKnown) this.#ask(message, write);
      else {
        const refused = this.#whyNot(message);
        isKnown = refused === null;
        write(isKnown ? { ready: true } : { refused });
        if (!isKnown) socket.end();
      }
    });
  }

  #whyNot({ key, runners }) {
    const given = createHash('sha256').update(`${key}`).digest();
    const own = createHash('sha256').update(keyOf(CURFEW_TOKEN)).digest();
    if (!timingSafeEqual(given, own)) return 'the key is wrong';
    return runners === this.#runners ? null : 'it has other runners';
  }

  #ask({ id, method, data }, write) {
    this.#count += 1;
    const requestId = `curfew_${this.#count}`;
    this.#asked.set(requestId, (answer) => write({ id, ...answer }));
    this.#child.send({ case: 'inferenceRequest', value: { requestId, method, data } });
  }

  /** False: the framework itself asked. */
  #answer({ requestId, data, error }) {
    const answer = this.#asked.get(requestId);
    this.#asked.delete(requestId);
    answer?.({ data, error });
    return answer !== undefined;
  }
}

/** The key that opens the socket. Workers get it, and the token of the zygote stays its own. */
function keyOf(token) {
  return createHash('sha256').update(`inference:${token}`).digest('base64url');
}

/** To the supervisor. It reconnects for ever, because a supervisor that starts again takes its zygotes back. */
class Connection {
  #state;
  #waitMs = FIRST_WAIT_MS;
  #unknownSinceMs = null;

  /** `state`: what each connection says first. */
  constructor(state) {
    this.#state = state;
    this.#connect();
  }

  #connect() {
    const socket = net.connect(CURFEW_SOCKET);
    const say = (message) => socket.write(`${JSON.stringify(message)}\n`);
    socket.once('connect', () => say(HELLO));
    socket.on('error', () => undefined);
    socket.once('close', () => {
      setTimeout(() => this.#connect(), this.#waitMs);
      this.#waitMs = Math.min(LONGEST_WAIT_MS, this.#waitMs * 2);
    });
    linesOf(socket, (message) => {
      if (message.type === 'error') this.#refused(message);
      if (message.type !== 'welcome') return;
      this.#waitMs = FIRST_WAIT_MS;
      this.#unknownSinceMs = null;
      say(this.#state);
    });
  }

  #refused({ code, message }) {
    note(`curfew: the supervisor refused this zygote: ${message}`);
    this.#unknownSinceMs ??= performance.now();
    if (FINAL.includes(code) || performance.now() - this.#unknownSinceMs > UNKNOWN_MS) process.exit(0);
  }
}
