/** The state directory of a foreground run: a new folder below TMPDIR. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CurfewError, messageOf } from '../lib/errors.ts';
import { RUN } from '../lib/limits/service-limits.ts';
import { TEMP } from '../lib/limits/temp-limits.ts';
import { CHANNEL } from '../lib/limits/worker-limits.ts';

/** `mkdtemp` adds so many characters to a prefix. */
const RANDOM_PART = 'XXXXXX';

/** Rejects `invalid_config` where no folder can be made. */
export function makeRunDir(): string {
  const parent = parentDir();
  try {
    return mkdtempSync(join(parent, RUN.dirPrefix));
  } catch (error) {
    throw new CurfewError(
      'invalid_config',
      `TMPDIR: the run cannot make a folder below "${parent}": ${messageOf(error)}`,
    );
  }
}

/** Absolute, because a worker finds the control socket from its own working folder. A socket's path has a bound. */
function parentDir(): string {
  const parent = resolve(tmpdir());
  const socket = join(parent, RUN.dirPrefix + RANDOM_PART, CHANNEL.socketName);
  return Buffer.byteLength(socket) > CHANNEL.socketPathBytes ? TEMP.dir : parent;
}
