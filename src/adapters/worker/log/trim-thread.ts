/** The thread that cuts logs. `trimLog` explains why cuts have a thread of their own. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../../../lib/errors.ts';
import type { Trim } from './trim-log.ts';
import { trimLog } from './trim-log.ts';

interface TrimRequest extends Trim {
  /** Pairs the answer with its request. */
  readonly seq: number;
}

export type ToTrimmer = TrimRequest | 'close';

export type FromTrimmer =
  | { readonly seq: number; readonly cutBytes: number }
  | { readonly seq: number; readonly error: string };

function answer({ seq, ...trim }: TrimRequest): FromTrimmer {
  try {
    return { seq, cutBytes: trimLog(trim) };
  } catch (error) {
    return { seq, error: messageOf(error) };
  }
}

parentPort?.on('message', (message: ToTrimmer) => {
  if (message === 'close') parentPort?.close();
  else parentPort?.postMessage(answer(message));
});
