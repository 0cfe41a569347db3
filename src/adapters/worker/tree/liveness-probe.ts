/** Finds workers with a dead main process. Normally the shim reports the exit, but a hung or stopped shim does not. */
import { setImmediate } from 'node:timers/promises';
import type { WorkerId } from '../../../core/ids.ts';
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import type { ProcessStat, ProcTable } from '../../../process/proc-files.ts';
import { findAlive } from '../../../process/proc-files.ts';

interface ProbedWorker {
  readonly main: ProcessIdentity | null;
  readonly reaper: { mainSeen(main: ProcessStat): void };
  /** Probes in a row that did not find `main`. */
  missedProbes: number;
}

interface LivenessOptions<T extends ProbedWorker> {
  readonly proc: ProcTable;
  readonly log: Log;
  readonly workers: () => readonly T[];
  readonly onMissed: (worker: T) => void;
}

const WORKERS_PER_TURN = 100;

/** Probes all workers repeatedly until the returned function is called. */
export function startLivenessProbe<T extends ProbedWorker>(options: LivenessOptions<T>): () => void {
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
      probe(options, worker);
    }
    timer = next();
  }

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** A probe that fails proves nothing: an unknown state is not proof of an exit. */
function probe<T extends ProbedWorker>({ proc, log, onMissed }: LivenessOptions<T>, worker: T): void {
  if (worker.main === null) return;
  try {
    const main = findAlive(proc, worker.main);
    if (main === null) onMissed(worker);
    else {
      worker.missedProbes = 0;
      worker.reaper.mainSeen(main);
    }
  } catch (error) {
    log.warn(
      { pid: worker.main.pid, error: messageOf(error) },
      "the state of a worker's process could not be read; the next probe tries again",
    );
  }
}

/** True: only the shim was killed. The call continues, but the worker's exit status will be unknown. */
export function workerOutlivesShim(
  { id, main }: { readonly id: WorkerId; readonly main: ProcessIdentity | null },
  proc: ProcTable,
  log: Log,
): boolean {
  try {
    if (main === null || findAlive(proc, main) === null) return false;
    log.warn(
      { worker: id },
      "the worker's shim was killed; the worker keeps running, but its exit status will be unknown",
    );
  } catch (error) {
    // An unknown state is not proof of an exit. The next probe decides.
    log.warn(
      { worker: id, error: messageOf(error) },
      "the worker's shim ended, and the state of its main process could not be read; the next probe decides",
    );
  }
  return true;
}
