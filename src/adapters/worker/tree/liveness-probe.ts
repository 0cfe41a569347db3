/** Notices that a worker's own process is gone although its shim, which should tell, does not. */
import { setImmediate } from 'node:timers/promises';
import type { WorkerId } from '../../../core/ids.ts';
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { ProcessStat, ProcTable } from '../../../process/proc-files.ts';
import { findAlive } from '../../../process/proc-files.ts';

interface Watched {
  readonly main: ProcessIdentity | null;
  readonly pursuit: { sees(main: ProcessStat): void };
  /** How many looks in a row found it gone. */
  missedLooks: number;
}

interface VigilOptions<T extends Watched> {
  readonly proc: ProcTable;
  readonly log: Log;
  readonly workers: () => readonly T[];
  readonly onMissed: (worker: T) => void;
}

const WORKERS_PER_TURN = 100;

/** Looks again and again until the returned function is called. */
export function startLivenessProbe<T extends Watched>(options: VigilOptions<T>): () => void {
  let stopped = false;
  const next = () =>
    setTimeout(
      tick,
      Math.max(WORKERS.livenessProbeMs, options.workers().length * WORKERS.checkSpacingMs),
    ).unref();
  let timer = next();

  async function tick(): Promise<void> {
    for (const [index, worker] of options.workers().entries()) {
      if (index % WORKERS_PER_TURN === WORKERS_PER_TURN - 1) await setImmediate();
      if (stopped) return;
      lookAt(options, worker);
    }
    timer = next();
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** A look that fails says nothing: unknown is not gone. */
function lookAt<T extends Watched>({ proc, log, onMissed }: VigilOptions<T>, worker: T): void {
  if (worker.main === null) return;
  try {
    const main = findAlive(proc, worker.main);
    if (main === null) onMissed(worker);
    else {
      worker.missedLooks = 0;
      worker.pursuit.sees(main);
    }
  } catch (error) {
    log.warn({ pid: worker.main.pid, error: messageOf(error) }, 'a process could not be looked at');
  }
}

/** A shim that somebody killed is not its worker: the call goes on, only its status will not be known. */
export function outlivesShim(
  { id, main }: { readonly id: WorkerId; readonly main: ProcessIdentity | null },
  proc: ProcTable,
  log: Log,
): boolean {
  try {
    if (main === null || findAlive(proc, main) === null) return false;
    log.warn({ worker: id }, "the worker's shim was killed; the worker goes on");
  } catch (error) {
    // Unknown is not gone: the next look tells.
    log.warn({ worker: id, error: messageOf(error) }, 'a worker whose shim ended could not be looked at');
  }
  return true;
}
