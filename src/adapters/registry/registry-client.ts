/** The Registry port: sends requests to the registry's thread, each with a bound. */
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import pTimeout from 'p-timeout';
import { asSession, asWatch } from '../../core/admission/stored-record.ts';
import { watchKey } from '../../core/rooms/kept-room.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import { CurfewError, ERRORS, messageOf } from '../../lib/errors.ts';
import { REGISTRY } from '../../lib/limits/storage-limits.ts';
import type { Log } from '../../ports/log.ts';
import type { DatabaseLoss, Registry } from '../../ports/registry.ts';
import { DamagedRecords } from './quarantine.ts';
import type { Begin, FromThread, WireError } from './registry-thread.ts';
import { rowOf } from './session-row.ts';
import type { Request, SessionPage } from './sqlite-store.ts';
import type { StateDirIdentity } from './state-dir-identity.ts';
import { stateDirIdentityAt } from './state-dir-identity.ts';

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export const REGISTRY_FILE = 'registry.db';

interface RegistryOptions {
  readonly stateDir: string;
  readonly log: Log;
  /** A thread that was started early. null or absent: the registry starts its own. */
  readonly thread?: Worker | null;
}

/** Rejects newer_schema, or registry_unavailable with the error of the disk. */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const client = new ThreadClient(join(options.stateDir, REGISTRY_FILE), options);
  await client.start();
  const ask = <T>(request: Request) => client.ask(request) as Promise<T>;
  const damaged = new DamagedRecords(options.log, (ids) => ask({ op: 'setAside', ids }));
  return {
    get isNew() {
      return client.isNew || damaged.wereFound;
    },
    onLost: (listener) => client.onLost(listener),
    create: (write) => ask({ op: 'create', row: rowOf(write) }),
    save: (write, durable) => ask({ op: 'save', row: rowOf(write), durable }),
    discard: (id) => ask({ op: 'discard', id }),
    probe: () => ask({ op: 'probe' }),
    get: async (id) => asSession(await ask({ op: 'get', id })),
    list: async (query) => {
      const page = await ask<SessionPage>({ op: 'list', query });
      return { ...page, sessions: page.sessions.flatMap((one) => asSession(one) ?? []) };
    },
    open: async () => damaged.takeSound(JSON.parse(await ask<string>({ op: 'open' })) as [string, unknown][]),
    saveWatch: (watch) => ask({ op: 'saveWatch', watch }),
    deleteWatch: (watch) => ask({ op: 'deleteWatch', key: watchKey(watch) }),
    watches: async () => (await ask<unknown[]>({ op: 'watches' })).flatMap((one) => asWatch(one) ?? []),
    prune: (endedBeforeWallMs) => ask({ op: 'prune', endedBeforeWallMs }),
    close: () => client.close(),
  };
}

/** Starts the thread early. It needs as long to start as the rest of the program to load, so both run in parallel. */
export function startRegistryThread(): Worker {
  const thread = new Worker(threadUrl());
  // A program that ends before it uses the registry does not wait for the thread.
  thread.unref();
  return thread;
}

class ThreadClient {
  readonly #path: string;
  readonly #identity: StateDirIdentity;
  readonly #log: Log;
  readonly #pending = new Map<number, Pending>();
  /** Started early, and not used yet. */
  #prestarted: Worker | null;
  #worker: Worker | null = null;
  #seq = 0;
  #closing = false;
  isNew = false;
  /** Losses that wait for a listener. */
  #unreported: DatabaseLoss[] = [];
  #listener: ((lost: DatabaseLoss) => void) | null = null;

  constructor(path: string, { log, thread = null }: Pick<RegistryOptions, 'log' | 'thread'>) {
    this.#path = path;
    this.#identity = stateDirIdentityAt(dirname(path));
    this.#log = log;
    this.#prestarted = thread;
  }

  /** Resolves when the database is open and its schema is current. */
  async start(): Promise<void> {
    const worker = this.#prestarted ?? startRegistryThread();
    this.#prestarted = null;
    worker.ref();
    const begin: Begin = { path: this.#path, place: this.#identity };
    worker.postMessage(begin);
    const opened = new Promise<void>((resolve, reject) => {
      worker.on('message', (message: FromThread) => {
        if (message.kind === 'ready') {
          this.isNew = message.isNew;
          resolve();
        } else if (message.kind === 'lost') this.#reportLost(message.lost);
        else if (message.kind === 'refused') reject(fromWire(message.error));
        else this.#settle(message);
      });
      worker.on('error', (error) => this.#threadEnded(worker, error));
      worker.on('exit', () => {
        reject(unavailable('its thread ended'));
        this.#threadEnded(worker, new Error('its thread ended'));
      });
    });
    this.#worker = worker;
    await bounded(opened, REGISTRY.openMs).catch(async (error: unknown) => {
      this.#worker = null;
      await worker.terminate();
      throw error;
    });
  }

  onLost(listener: (lost: DatabaseLoss) => void): void {
    this.#listener = listener;
    for (const lost of this.#unreported.splice(0)) listener(lost);
  }

  #reportLost(lost: DatabaseLoss): void {
    if (this.#listener === null) this.#unreported.push(lost);
    else this.#listener(lost);
  }

  async ask(request: Request): Promise<unknown> {
    if (this.#worker === null && !this.#closing) await this.start();
    const worker = this.#worker;
    if (worker === null) throw unavailable('the supervisor has closed it');
    const seq = ++this.#seq;
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(seq, { resolve, reject }));
    worker.postMessage({ seq, request });
    const boundMs = request.op === 'open' ? REGISTRY.openMs : REGISTRY.timeoutMs;
    return bounded(answer, boundMs).finally(() => this.#pending.delete(seq));
  }

  async close(): Promise<void> {
    this.#closing = true;
    const worker = this.#worker;
    if (worker === null) return;
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage('close');
    await bounded(exited, REGISTRY.timeoutMs).catch(() => worker.terminate());
  }

  #settle(message: Extract<FromThread, { kind: 'answer' | 'failed' }>): void {
    const pending = this.#pending.get(message.seq);
    if (message.kind === 'answer') pending?.resolve(message.value);
    else pending?.reject(fromWire(message.error));
  }

  /** Rejects all current requests. The next request starts a new thread. */
  #threadEnded(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (!this.#closing)
      this.#log.error(
        { error: messageOf(error) },
        'the registry thread ended; the next write starts it again',
      );
    for (const pending of this.#pending.values()) pending.reject(unavailable(messageOf(error)));
  }
}

/** The thread's file is next to this one, as TypeScript source or compiled. */
function threadUrl(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './registry-thread.ts' : './thread.js', import.meta.url);
}

function bounded<T>(promise: Promise<T>, boundMs: number): Promise<T> {
  return pTimeout(promise, {
    milliseconds: boundMs,
    // The error is created only on a timeout, because its stack is expensive and each change makes a request.
    fallback: () => {
      throw unavailable(`no answer within ${boundMs} ms`);
    },
  });
}

function unavailable(why: string): CurfewError {
  return new CurfewError('registry_unavailable', `the registry: ${why}`);
}

function fromWire({ code, message, facts }: WireError): CurfewError {
  const known = Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'registry_unavailable';
  return new CurfewError(known, known === 'registry_unavailable' ? `the registry: ${message}` : message, {
    ...facts,
  });
}
