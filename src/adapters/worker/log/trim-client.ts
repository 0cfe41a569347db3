/** Sends cuts to the thread that cuts logs. The thread starts with the first message, because most hosts need none. */
import { Worker } from 'node:worker_threads';
import type { ForwardRequest, ForwardStatus } from '../forward/forwarder.ts';
import type { Trim } from './trim-log.ts';
import type { FromTrimmer, ToTrimmer } from './trim-thread.ts';

interface Pending {
  readonly resolve: (cutBytes: number) => void;
  readonly reject: (error: Error) => void;
}

/** The forwarding of logs, which the same thread does. */
interface Forwarding {
  /** The first messages of each new thread. */
  readonly begin: () => readonly ForwardRequest[];
  readonly onStatus: (status: ForwardStatus) => void;
}

export class TrimClient {
  readonly #pending = new Map<number, Pending>();
  readonly #forwarding: Forwarding | null;
  #thread: Worker | null = null;
  #seq = 0;
  #over: Promise<void> = Promise.resolve();
  #isClosing = false;

  constructor(forwarding: Forwarding | null = null) {
    this.#forwarding = forwarding;
  }

  /** Resolves with all bytes cut so far, `cutBefore` included. Rejects with the error of the file system. */
  trim(trim: Trim): Promise<number> {
    this.#thread ??= this.#startThread();
    const thread = this.#thread;
    const seq = ++this.#seq;
    // The thread keeps the program alive only during a cut.
    thread.ref();
    thread.postMessage({ ...trim, seq } satisfies ToTrimmer);
    return new Promise((resolve, reject) => this.#pending.set(seq, { resolve, reject }));
  }

  /** A new thread gets `begin` instead, which has this message's facts. Then `request` is not called. */
  forward(request: () => ForwardRequest): void {
    if (this.#isClosing) return;
    if (this.#thread === null) this.#thread = this.#startThread();
    else this.#thread.postMessage(request() satisfies ToTrimmer);
  }

  /**
   * The thread finishes its current cut first: half a cut would leave lines twice in a log. It also writes the lines that wait.
   * Resolves when the thread has ended.
   */
  close(): Promise<void> {
    this.#isClosing = true;
    this.#thread?.ref();
    this.#thread?.postMessage('close' satisfies ToTrimmer);
    return this.#over;
  }

  #startThread(): Worker {
    const file = import.meta.url.endsWith('.ts') ? './trim-thread.ts' : './trim-thread.js';
    // Because: libuv closes the descriptor of a forwarding's pipe, and the thread would close that number again at its end.
    const thread = new Worker(new URL(file, import.meta.url), { trackUnmanagedFds: false });
    thread.unref();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#over = promise;
    thread.on('message', (message: FromTrimmer) => this.#settle(thread, message));
    thread.on('error', (error) => this.#threadEnded(thread, error));
    thread.on('exit', () => {
      this.#threadEnded(thread, new Error('the thread that cuts logs ended'));
      resolve();
    });
    for (const one of this.#forwarding?.begin() ?? []) thread.postMessage(one satisfies ToTrimmer);
    return thread;
  }

  #settle(thread: Worker, message: FromTrimmer): void {
    if ('forward' in message) {
      this.#forwarding?.onStatus(message.forward);
      return;
    }
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (this.#pending.size === 0) thread.unref();
    if ('error' in message) pending?.reject(new Error(message.error));
    else pending?.resolve(message.cutBytes);
  }

  /** Rejects the current cuts. The next message starts a new thread. */
  #threadEnded(thread: Worker, error: Error): void {
    if (this.#thread !== thread) return;
    this.#thread = null;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
