/**
 * Forwards the logs of live workers. It runs on the thread that cuts logs, so no cut happens during a read. Neither a slow
 * disk nor a slow reader delays the supervisor.
 */
import { FORWARD } from '../../../lib/limits/forward-limits.ts';
import type { Moved } from '../log/trim-log.ts';
import type { Dropped, LineOwner } from './forwarded-line.ts';
import { openJournal } from './journal-sink.ts';
import { LineQueue } from './line-queue.ts';
import type { TailFrom } from './log-tail.ts';
import { LogTail } from './log-tail.ts';
import type { Sink } from './stdout-sink.ts';
import { openStdout } from './stdout-sink.ts';

export type ForwardTarget = 'stdout' | 'journald';

export type ForwardRequest =
  | { readonly forward: 'open'; readonly to: ForwardTarget }
  | { readonly forward: 'watch'; readonly path: string; readonly from: TailFrom; readonly owner: LineOwner }
  | { readonly forward: 'own'; readonly owner: LineOwner }
  | { readonly forward: 'end'; readonly worker: string };

export interface ForwardStatus {
  readonly waitingBytes: number;
  /** Since the start. */
  readonly dropped: Dropped;
  /** Of the workers that live. */
  readonly workers: readonly ({ readonly worker: string } & Dropped)[];
  /** Why the last write failed. `null`: it did not. */
  readonly error: string | null;
}

interface Tailed {
  readonly tail: LogTail;
  isEnded: boolean;
}

export class Forwarder {
  readonly #tails = new Map<string, Tailed>();
  /** Ended workers with dropped lines that the output does not report yet. */
  readonly #unreported = new Map<string, LineOwner>();
  readonly #queue = new LineQueue();
  readonly #chunk = Buffer.allocUnsafe(FORWARD.readBytes);
  readonly #sink: Sink;
  readonly #tellStatus: (status: ForwardStatus) => void;
  /** The batch that is being written, or was not written. Empty: none. */
  #batch = '';
  #isWriting = false;
  #error: string | null = null;
  #round: NodeJS.Timeout | NodeJS.Immediate | undefined;
  #notedMs = 0;
  #told = '';
  #closed: (() => void) | null = null;

  constructor(to: ForwardTarget, tellStatus: (status: ForwardStatus) => void) {
    this.#sink = to === 'stdout' ? openStdout() : openJournal();
    this.#tellStatus = tellStatus;
    this.#later();
  }

  handle(request: Exclude<ForwardRequest, { forward: 'open' }>): void {
    if (request.forward === 'watch') {
      const tail = new LogTail(request.path, request.owner, request.from);
      this.#tails.set(request.owner.worker, { tail, isEnded: false });
    } else if (request.forward === 'own') {
      const found = this.#tails.get(request.owner.worker);
      if (found) found.tail.owner = request.owner;
    } else {
      const found = this.#tails.get(request.worker);
      if (found) found.isEnded = true;
    }
  }

  /** Call it right after the cut of a log. */
  moved(path: string, moved: Moved): void {
    for (const { tail } of this.#tails.values()) {
      if (tail.path !== path) continue;
      tail.moved(moved, this.#queue);
      // A later supervisor would go on at a wrong place.
      tail.note();
    }
  }

  /** Reads once more, and resolves when the reader has all lines, or after a bound. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const bound = setTimeout(resolve, FORWARD.flushMs);
    this.#closed = resolve;
    this.#readAll();
    await promise;
    clearTimeout(bound);
    if (this.#round !== undefined) clearTimeout(this.#round as NodeJS.Timeout);
    this.#sink.close();
    this.#noteAll();
  }

  #later(): void {
    const waitMs = Math.max(FORWARD.roundMs, this.#tails.size * FORWARD.roundSpacingMs);
    this.#round = setTimeout(() => this.#readAll(), waitMs);
  }

  /** One chunk of each log, so that a loud worker delays no other. Messages and writes have their turn between two passes. */
  #readAll(): void {
    let hasMore = false;
    for (const [worker, { tail, isEnded }] of this.#tails) {
      const more = tail.read(this.#chunk, this.#queue);
      hasMore ||= more;
      if (isEnded && !more) this.#finish(worker, tail);
    }
    this.#report();
    this.#write();
    if (hasMore) this.#round = setImmediate(() => this.#readAll());
    else if (this.#closed === null) this.#later();
    this.#resolveWhenEmpty();
  }

  #finish(worker: string, tail: LogTail): void {
    tail.end(this.#queue);
    tail.note();
    this.#tails.delete(worker);
    this.#unreported.set(worker, tail.owner);
    const [oldest] = this.#unreported.keys();
    if (this.#unreported.size > FORWARD.named && oldest !== undefined) this.#forget(oldest);
  }

  #forget(worker: string): void {
    this.#unreported.delete(worker);
    this.#queue.forget(worker);
  }

  #report(): void {
    for (const { tail } of this.#tails.values()) this.#queue.report(tail.owner);
    for (const [worker, owner] of this.#unreported) if (this.#queue.report(owner)) this.#forget(worker);
    const nowMs = performance.now();
    if (nowMs - this.#notedMs < FORWARD.noteMs) return;
    this.#notedMs = nowMs;
    this.#noteAll();
    this.#tell();
  }

  #noteAll(): void {
    for (const { tail } of this.#tails.values()) tail.note();
  }

  #tell(): void {
    const workers = this.#queue.droppedOf.slice(0, FORWARD.named);
    const { waitingBytes, dropped } = this.#queue;
    const status = { waitingBytes, dropped, workers, error: this.#error };
    const told = JSON.stringify(status);
    if (told !== this.#told) this.#tellStatus(status);
    this.#told = told;
  }

  #write(): void {
    if (this.#isWriting) return;
    if (this.#batch === '') this.#batch = this.#queue.take(FORWARD.batchBytes);
    if (this.#batch === '') return;
    this.#isWriting = true;
    this.#sink.write(this.#batch, (error) => this.#written(error));
  }

  /** A failed batch is written again, because a FIFO or a restarted journal may have a reader later. */
  #written(error: Error | null): void {
    this.#error = error === null ? null : error.message;
    const again = () => {
      this.#isWriting = false;
      this.#write();
      this.#resolveWhenEmpty();
    };
    if (error === null) {
      this.#batch = '';
      again();
    } else setTimeout(again, FORWARD.retryMs).unref();
  }

  #resolveWhenEmpty(): void {
    if (this.#closed !== null && !this.#isWriting && this.#batch === '' && this.#queue.waitingBytes === 0)
      this.#closed();
  }
}
