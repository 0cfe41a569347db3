/**
 * Uses the inference process of the profile's zygote, so that the models are loaded once for all workers. A worker gets an
 * inference process of its own as soon as the shared one fails. No request is lost by that.
 */
import net from 'node:net';
import { note } from '../note.mjs';
import { Child, pongOf } from './child-process.mjs';

export const INFERENCE_MODULE = /\/@livekit\/agents\/dist\/ipc\/inference_proc_lazy_main\.c?js$/;
/** Far longer than any inference needs. The answer would be of no use later. */
const ANSWER_MS = 10_000;

const { CURFEW_INFERENCE: NAME = '', CURFEW_INFERENCE_KEY: KEY = '' } = process.env;

export class SharedInference extends Child {
  static isOffered = NAME !== '';

  #runners;
  #fork;
  /** The process of this worker, in place of the shared one. */
  #own = null;
  #socket = null;
  #initialize = null;
  #isReady = false;
  /** Requests without an answer, by id, each with its timer. */
  #waiting = new Map();

  /** `fork` starts the framework's own inference process. */
  constructor([runners], fork) {
    super();
    this.#runners = runners;
    this.#fork = fork;
  }

  send(message) {
    if (this.#own !== null) return this.#own.send(message);
    switch (message?.case) {
      case 'initializeRequest':
        this.#initialize = message;
        this.#connect();
        break;
      case 'pingRequest':
        this.tell(pongOf(message));
        break;
      case 'inferenceRequest':
        this.#ask(message);
        break;
      case 'shutdownRequest':
        this.#leave();
        this.tell({ case: 'done' });
        this.ends(0);
        break;
      default:
    }
    return true;
  }

  kill(signal) {
    if (this.#own !== null) return this.#own.kill(signal);
    this.#leave();
    this.ends(null);
    return true;
  }

  #connect() {
    const socket = net.connect({ path: addressOf(NAME) });
    this.#socket = socket;
    // The framework waits for other things. An idle connection keeps no process alive.
    socket.unref();
    linesOf(socket, (message) => this.#hear(message));
    socket.once('error', (error) => this.#fails(error.message));
    socket.once('close', () => this.#fails('it closed the connection'));
    this.#write({ key: KEY, runners: this.#runners });
    this.#after(ANSWER_MS, () => this.#isReady || this.#fails('it did not answer'));
  }

  #hear(message) {
    if (message.refused !== undefined) this.#fails(message.refused);
    else if (message.ready === true) {
      this.#isReady = true;
      this.tell({ case: 'initializeResponse' });
    } else {
      const { id } = message;
      if (!this.#forget(id)) return;
      this.tell({ case: 'inferenceResponse', value: { ...message, id: undefined, requestId: id } });
    }
  }

  #ask(message) {
    const { requestId, method, data } = message.value;
    const timer = this.#after(ANSWER_MS, () => this.#fails('it did not answer'));
    this.#waiting.set(requestId, { message, timer });
    this.#write({ id: requestId, method, data });
  }

  #write(message) {
    this.#socket?.write(`${JSON.stringify(message)}\n`);
  }

  #after(ms, callback) {
    return setTimeout(callback, ms).unref();
  }

  #forget(id) {
    const found = this.#waiting.get(id);
    clearTimeout(found?.timer);
    return this.#waiting.delete(id);
  }

  #leave() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.removeAllListeners('close').destroy();
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
  }

  #fails(why) {
    if (this.#own !== null || this.#socket === null) return;
    note(`curfew: prefork: the shared inference process failed (${why}), so this worker has one of its own`);
    this.#leave();
    const own = this.#fork();
    this.#own = own;
    this.pid = own.pid;
    let isKnown = this.#isReady;
    own.on('message', (message) => {
      // The framework has had this answer already.
      if (message?.case === 'initializeResponse') {
        for (const { message: asked } of this.#waiting.values()) own.send(asked);
        this.#waiting.clear();
        if (isKnown) return;
        isKnown = true;
      }
      this.emit('message', message);
    });
    own.on('error', (error) => this.emit('error', error));
    own.once('exit', (code, signal) => {
      this.connected = false;
      this.exitCode = code;
      this.emit('exit', code, signal);
    });
    own.send(this.#initialize);
  }
}

/** An abstract socket has no file, so its name has no bound of a folder, and nothing is left of it. Source: unix(7). */
export function addressOf(name) {
  return `\0curfew/${name}`;
}

/** Calls `hear` with each line of JSON. Another line ends the connection. */
export function linesOf(socket, hear) {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    try {
      for (const line of lines) hear(JSON.parse(line));
    } catch {
      socket.destroy();
    }
  });
}
