/** The near side of the thread that cuts logs; begun with the first cut, which most hosts never see. */
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

  /** Resolves with the bytes cut so far, `cutBefore` included; rejects with what the file system said. */
  trim(trim: Trim): Promise<number> {
    this.#thread ??= this.#begin();
    const thread = this.#thread;
    const seq = ++this.#seq;
    // Only a cut under way keeps the program from ending.
    thread.ref();
    thread.postMessage({ ...trim, seq } satisfies ToTrimmer);
    return new Promise((resolve, reject) => this.#pending.set(seq, { resolve, reject }));
  }

  /** What is under way is cut to its end: half a cut would leave a log with lines twice. */
  close(): void {
    this.#thread?.postMessage('close' satisfies ToTrimmer);
  }

  #begin(): Worker {
    const file = import.meta.url.endsWith('.ts') ? './trim-thread.ts' : './trim-thread.js';
    const thread = new Worker(new URL(file, import.meta.url));
    thread.on('message', (message: FromTrimmer) => this.#settle(thread, message));
    thread.on('error', (error) => this.#lost(thread, error));
    thread.on('exit', () => this.#lost(thread, new Error('its thread ended')));
    return thread;
  }

  #settle(thread: Worker, message: FromTrimmer): void {
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (this.#pending.size === 0) thread.unref();
    if ('error' in message) pending?.reject(new Error(message.error));
    else pending?.resolve(message.cutBytes);
  }

  /** The next cut begins another. */
  #lost(thread: Worker, error: Error): void {
    if (this.#thread !== thread) return;
    this.#thread = null;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
