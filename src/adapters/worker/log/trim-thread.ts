/** The thread that cuts logs: see trim.ts for why it has one. */
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../../../lib/errors.ts';
import type { Trim } from './trim-log.ts';
import { trimLog } from './trim-log.ts';

interface Asked extends Trim {
  readonly seq: number;
}

export type ToTrimmer = Asked | 'close';

export type FromTrimmer =
  | { readonly seq: number; readonly cutBytes: number }
  | { readonly seq: number; readonly error: string };

function answer({ seq, ...trim }: Asked): FromTrimmer {
  try {
    return { seq, cutBytes: trimLog(trim) };
  } catch (error) {
    return { seq, error: messageOf(error) };
  }
}

parentPort?.on('message', (asked: ToTrimmer) => {
  if (asked === 'close') parentPort?.close();
  else parentPort?.postMessage(answer(asked));
});
