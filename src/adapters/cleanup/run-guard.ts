/**
 * The guard of a foreground run: a shell that waits until the run is over or dead.
 * The kernel closes the run's end of the pipe when the run dies for any reason. Then the guard becomes the program
 * that ends the run's workers. Because: the guard is no child of a worker and has no mark, no signal to a worker's tree
 * reaches it. It has a kernel session of its own, so no signal to the run's group reaches it either.
 */
import { spawn } from 'node:child_process';
import type { Log } from '../../ports/log.ts';

const OVER = 'over';
const SCRIPT = `read -r curfew_word; [ "$curfew_word" = ${OVER} ] || exec "$@"`;

/** `command` runs when this process dies before the returned function was called. */
export function startGuard(command: readonly string[], log: Log): () => void {
  const guard = spawn('/bin/sh', ['-c', SCRIPT, 'curfew-guard', ...command], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const failed = (error: Error) =>
    log.warn(
      { error: error.message },
      'the guard of this run did not start: if the run is killed, its worker lives on until `curfew cleanup --abandoned`',
    );
  guard.once('error', failed);
  guard.stdin.on('error', () => undefined);
  guard.unref();
  return () => void guard.stdin.end(`${OVER}\n`);
}
