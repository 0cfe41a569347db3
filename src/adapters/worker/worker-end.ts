/**
 * The end of a worker. Its exit is reported once. When its tree is gone, the last cut of its log and the removal of its temporary
 * folder follow. When its session needs it no more, too, its log counts as that of an ended worker.
 */
import type { ExitInfo } from '../../core/model/worker.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { findAlive } from '../../process/proc-files.ts';
import { exitFromFile, exitOf, statusOf } from './folder/exit-status.ts';
import { readStatus } from './folder/worker-folder.ts';
import type { ShellExit } from './start/spawn-shim.ts';
import type { TrackedWorker } from './tracked-worker.ts';
import { workerOutlivesShim } from './tree/liveness-probe.ts';
import type { WorkerParts } from './worker-parts.ts';

/**
 * After so many probes in a row without the worker's main process, its shim counts as hung. One probe runs each second.
 * On an overloaded host the shim writes the status late.
 */
const MISSED_PROBES = 10;

export class WorkerEnd {
  readonly #parts: WorkerParts;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
  }

  /** Race: the worker can end at once. The end is reported in a later turn, after the caller got the result of the spawn. */
  announce(entry: TrackedWorker): void {
    entry.announced = true;
    setImmediate(() => void entry.shim.ended.then((exit) => this.#shimEnded(entry, exit)));
  }

  probeMissed(entry: TrackedWorker): void {
    entry.missedProbes += 1;
    const shimLives = findAlive(this.#parts.proc, entry.shim.identity) !== null;
    if (shimLives && entry.missedProbes < MISSED_PROBES) {
      // A living shim that does not write the status was probably stopped together with its worker.
      entry.reaper.wakeShim();
      return;
    }
    void this.#exitedByFile(entry);
  }

  /** `left`: how many processes of the tree live. */
  treeChanged(entry: TrackedWorker, left: number): void {
    const { writes, logs, temp, metrics, options } = this.#parts;
    if (left === 0) {
      failpoint('tree.gone');
      entry.shim.stopWatching();
      writes.add(logs.finish(entry.id));
      temp?.remove(entry.id, () => metrics.retain(entry.id));
      if (entry.forgotten) this.#shelve(entry);
    }
    if (entry.announced) options.listener.tree(entry.id, left);
  }

  /** The session needs the worker no more. The reaper needs the entry until the tree is gone. */
  forget(entry: TrackedWorker): void {
    entry.forgotten = true;
    if (entry.reaper.isOver) this.#shelve(entry);
  }

  /** The log counts from now on as that of an ended worker. Its last record and its last cut come first. */
  #shelve({ id }: TrackedWorker): void {
    const { entries, writes, shelf } = this.#parts;
    entries.delete(id);
    void writes.settled().then(() => shelf.add(id));
  }

  async #shimEnded(entry: TrackedWorker, exit: ShellExit): Promise<void> {
    const { proc, options } = this.#parts;
    // The shim is our child and was reaped just now, so until now its number was its own.
    if (exit.code !== null || exit.signal !== null) entry.reaper.confirmGroup();
    if (exit.code === null && workerOutlivesShim(entry, proc, options.log)) return;
    // The shim exits with its command's status. If it was killed or is not our child, the status file may exist.
    if (exit.code === null) await this.#exitedByFile(entry);
    else this.#exited(entry, exitOf(statusOf(exit.code), options.clock.now(), entry.cgroup));
  }

  async #exitedByFile(entry: TrackedWorker): Promise<void> {
    const status = await readStatus(entry.folder);
    const now = this.#parts.options.clock.now();
    this.#exited(entry, exitFromFile(status ?? { text: '', wallMs: now.wallMs }, now, entry.cgroup));
  }

  /** Reports the exit once. The scan of the remaining tree follows each call, also when a hung shim ends later. */
  #exited(entry: TrackedWorker, exit: ExitInfo): void {
    const { closing, options } = this.#parts;
    if (closing.signal.aborted) return;
    if (!entry.exited) {
      failpoint('exit.seen');
      entry.exited = true;
      options.listener.exited(entry.id, exit);
    }
    entry.reaper.exited();
  }
}
