/** The registry's thread: what came in while the last transaction was under way is committed together. */
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

/** An error crosses the thread as its parts. */
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

function say(message: FromThread): void {
  port?.postMessage(message);
}

function toWire(error: unknown): WireError {
  if (error instanceof CurfewError) return { code: error.code, message: error.message, facts: error.facts };
  return { code: 'registry_unavailable', message: messageOf(error), facts: {} };
}

function answer({ seq }: ToThread, outcome: Outcome): void {
  if ('value' in outcome) say({ kind: 'answer', seq, value: outcome.value });
  else say({ kind: 'failed', seq, error: toWire(outcome.error) });
}

function commitWaiting(store: StoreRecovery): void {
  const group = waiting.splice(0);
  if (group.length === 0) return;
  try {
    const outcomes = store.runGroup(group.map((one) => one.request));
    for (const [index, one] of group.entries())
      answer(one, outcomes[index] ?? { error: new Error('no outcome') });
  } catch (error) {
    for (const one of group) say({ kind: 'failed', seq: one.seq, error: toWire(error) });
  }
}

/** The path comes first, for the thread is begun before the state directory is ours. */
port?.once('message', ({ path, place }: Begin) => {
  try {
    serve(new StoreRecovery(path, (lost) => say({ kind: 'lost', lost }), place));
  } catch (error) {
    say({ kind: 'refused', error: toWire(error) });
  }
});

function serve(store: StoreRecovery): void {
  say({ kind: 'ready', isNew: store.isNew });
  port?.on('message', (message: ToThread | 'close') => {
    if (message === 'close') {
      commitWaiting(store);
      store.close();
      port.close();
      return;
    }
    waiting.push(message);
    // After all messages of this turn, so that they share one commit.
    if (waiting.length === 1) setImmediate(() => commitWaiting(store));
  });
}
