/** The thread that cuts logs, and forwards them. `trimLog` explains why cuts have a thread of their own. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../../../lib/errors.ts';
import type { ForwardRequest, ForwardStatus } from '../forward/forwarder.ts';
import { Forwarder } from '../forward/forwarder.ts';
import type { Trim } from './trim-log.ts';
import { trimLog } from './trim-log.ts';

interface TrimRequest extends Trim {
  /** Pairs the answer with its request. */
  readonly seq: number;
}

export type ToTrimmer = TrimRequest | ForwardRequest | 'close';

export type FromTrimmer =
  | { readonly seq: number; readonly cutBytes: number }
  | { readonly seq: number; readonly error: string }
  | { readonly forward: ForwardStatus };

let forwarder: Forwarder | null = null;

function answer({ seq, ...trim }: TrimRequest): FromTrimmer {
  try {
    return { seq, cutBytes: trimLog(trim, (moved) => forwarder?.moved(trim.path, moved)) };
  } catch (error) {
    return { seq, error: messageOf(error) };
  }
}

function forward(request: ForwardRequest): void {
  if (request.forward !== 'open') forwarder?.handle(request);
  else forwarder ??= new Forwarder(request.to, (status) => parentPort?.postMessage({ forward: status }));
}

async function close(): Promise<void> {
  await forwarder?.close();
  parentPort?.close();
}

parentPort?.on('message', (message: ToTrimmer) => {
  if (message === 'close') void close();
  else if ('forward' in message) forward(message);
  else parentPort?.postMessage(answer(message));
});
