/** Sends cuts to the thread that cuts logs. The thread starts with the first cut, because most hosts need none. */
import { Worker } from 'node:worker_threads';
import type { Trim } from './trim-log.ts';
import type { FromTrimmer, ToTrimmer } from './trim-thread.ts';

interface Pending {
  readonly resolve: (cutBytes: number) => void;
  readonly reject: (error: Error) => void;
}

export class TrimClient {
  readonly #pending = new Map<number, Pending>();
  #thread: Worker | null = null;
  #seq = 0;

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

  /** The thread finishes its current cut first: half a cut would leave lines twice in a log. */
  close(): void {
    this.#thread?.postMessage('close' satisfies ToTrimmer);
  }

  #startThread(): Worker {
    const file = import.meta.url.endsWith('.ts') ? './trim-thread.ts' : './trim-thread.js';
    const thread = new Worker(new URL(file, import.meta.url));
    thread.on('message', (message: FromTrimmer) => this.#settle(thread, message));
    thread.on('error', (error) => this.#threadEnded(thread, error));
    thread.on('exit', () => this.#threadEnded(thread, new Error('the thread that cuts logs ended')));
    return thread;
  }

  #settle(thread: Worker, message: FromTrimmer): void {
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (this.#pending.size === 0) thread.unref();
    if ('error' in message) pending?.reject(new Error(message.error));
    else pending?.resolve(message.cutBytes);
  }

  /** Rejects the current cuts. The next cut starts a new thread. */
  #threadEnded(thread: Worker, error: Error): void {
    if (this.#thread !== thread) return;
    this.#thread = null;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
