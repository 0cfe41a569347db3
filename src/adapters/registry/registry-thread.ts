/**
 * The registry's thread. Requests that arrive during a transaction are committed together in the next one.
 * Because: after an install, a supervisor of another version may load this file.
 * So the fields of its messages keep their names.
 */
import { parentPort } from 'node:worker_threads';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { DatabaseLoss } from '../../ports/registry.ts';
import type { Outcome, Request } from './sqlite-store.ts';
import type { StateDirIdentity } from './state-dir-identity.ts';
import { StoreRecovery } from './store-recovery.ts';

export interface Begin {
  readonly path: string;
  readonly place: StateDirIdentity;
}

export interface ToThread {
  readonly seq: number;
  readonly request: Request;
}

/** The parts of an error. An error object itself loses its code between threads. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export type FromThread =
  | { readonly kind: 'ready'; readonly isNew: boolean }
  | { readonly kind: 'lost'; readonly lost: DatabaseLoss }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'answer'; readonly seq: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly seq: number; readonly error: WireError };

const waiting: ToThread[] = [];
const port = parentPort;

function send(message: FromThread): void {
  port?.postMessage(message);
}

function toWire(error: unknown): WireError {
  if (error instanceof CurfewError) return { code: error.code, message: error.message, facts: error.facts };
  return { code: 'registry_unavailable', message: messageOf(error), facts: {} };
}

function answer({ seq }: ToThread, outcome: Outcome): void {
  if ('value' in outcome) send({ kind: 'answer', seq, value: outcome.value });
  else send({ kind: 'failed', seq, error: toWire(outcome.error) });
}

function commitWaiting(store: StoreRecovery): void {
  const group = waiting.splice(0);
  if (group.length === 0) return;
  try {
    const outcomes = store.runGroup(group.map((one) => one.request));
    for (const [index, one] of group.entries())
      answer(one, outcomes[index] ?? { error: new Error('no outcome') });
  } catch (error) {
    for (const one of group) send({ kind: 'failed', seq: one.seq, error: toWire(error) });
  }
}

/** The thread starts before the supervisor holds the state directory. So the path comes as the first message. */
port?.once('message', ({ path, place }: Begin) => {
  try {
    serve(new StoreRecovery(path, (lost) => send({ kind: 'lost', lost }), place));
  } catch (error) {
    send({ kind: 'refused', error: toWire(error) });
  }
});

function serve(store: StoreRecovery): void {
  send({ kind: 'ready', isNew: store.isNew });
  port?.on('message', (message: ToThread | 'close') => {
    if (message === 'close') {
      commitWaiting(store);
      store.close();
      port.close();
      return;
    }
    waiting.push(message);
    // All messages of this turn share one commit.
    if (waiting.length === 1) setImmediate(() => commitWaiting(store));
  });
}
