/** The Workers port: process trees on this host, each behind a shim of its own. */
import { existsSync } from 'node:fs';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../core/ids.ts';
import { workerId as workerIdOf } from '../../core/ids.ts';
import type { ExitInfo, WorkerProcess } from '../../core/model/worker.ts';
import { CurfewError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { LOGS, WORKERS } from '../../lib/limits/worker-limits.ts';
import type { Adopted, SpawnRequest, Workers } from '../../ports/workers.ts';
import { ownUmask } from '../../process/base-environment.ts';
import { createProcTable, findAlive } from '../../process/proc-files.ts';
import type { Scanner } from '../../process/process-scan.ts';
import { createScanner } from '../../process/process-scan.ts';
import type { Self } from '../../process/process-tree.ts';
import { exitFromFile, exitOf, statusOf } from './folder/exit-status.ts';
import { findGroup } from './folder/find-cgroup.ts';
import { Writes } from './folder/pending-writes.ts';
import type { WorkerFolder } from './folder/worker-folder.ts';
import { folderOf, openLog, pruneFolders, readStatus } from './folder/worker-folder.ts';
import type { LogCap } from './log/log-cap.ts';
import { createLogCap } from './log/log-cap.ts';
import { adoptedShim, findStarted } from './start/adopt-shim.ts';
import type { StartHost } from './start/prepare-start.ts';
import { planStart } from './start/prepare-start.ts';
import type { ShellExit, Shim, Start } from './start/spawn-shim.ts';
import { startShim, waitForMain } from './start/spawn-shim.ts';
import { Starts } from './start/start-queue.ts';
import type { TrackedWorker } from './tracked-worker.ts';
import { newTrackedWorker } from './tracked-worker.ts';
import { outlivesShim, startLivenessProbe } from './tree/liveness-probe.ts';
import { startSampler } from './tree/resource-sampler.ts';
import { TreeReaper } from './tree/tree-reaper.ts';
import { isGone } from './untracked-worker.ts';
import type { WorkersOptions } from './workers-options.ts';

/** Looks, one each second, that must find the worker's process gone before its shim is taken for hung: on a starved host the status comes late. */
const MISSED_LOOKS = 10;

export function createWorkers(options: WorkersOptions): Workers {
  return new HostWorkers(options);
}

class HostWorkers implements Workers {
  readonly #options: WorkersOptions;
  readonly #proc = createProcTable();
  readonly #markPrefix: string;
  readonly #self: Self;
  readonly #startHost: StartHost;
  readonly #scanner: Scanner;
  readonly #logs: LogCap;
  readonly #entries = new Map<WorkerId, TrackedWorker>();
  readonly #starts = new Starts();
  readonly #writes: Writes;
  readonly #stops: readonly (() => void)[];
  #closed = false;

  constructor(options: WorkersOptions) {
    const { instance, log, listener, env: environment = process.env, cgroups = null, logs = LOGS } = options;
    this.#options = options;
    this.#writes = new Writes(log);
    this.#markPrefix = `CURFEW_WORKER=${instance.id}/`;
    this.#scanner = createScanner(this.#proc, this.#markPrefix);
    this.#startHost = { instance, environment, umask: ownUmask(), cgroups, maxFileBytes: logs.hardBytes };
    this.#logs = createLogCap({ log, sizes: logs });
    this.#self = { pid: process.pid, pgid: this.#proc.stat(process.pid)?.pgid ?? process.pid };
    const sampler = {
      scanner: this.#scanner,
      self: this.#self,
      log,
      everyMs: options.sampleMs ?? WORKERS.sampleMs,
      trees: () => this.#running().map((one) => one.pursuit.subject),
      onSample: (id: WorkerId, rssBytes: number, cpuPercent: number) =>
        listener.resources(id, rssBytes, cpuPercent),
    };
    const vigil = {
      proc: this.#proc,
      log,
      workers: () => this.#running(),
      onMissed: (entry: TrackedWorker) => this.#missed(entry),
    };
    this.#stops = [() => this.#logs.close(), startSampler(sampler), startLivenessProbe(vigil)];
  }

  async spawn(request: SpawnRequest): Promise<WorkerProcess> {
    const { workerId } = request;
    const folder = folderOf(this.#options.instance.workersDir, workerId);
    if (this.#has(workerId)) throw new CurfewError('internal', `worker ${workerId} was started before`);
    return this.#starts.run(workerId, (wanted) => this.#start(request, folder, wanted));
  }

  async adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null> {
    const { workersDir, bootId } = this.#options.instance;
    const folder = folderOf(workersDir, workerId);
    const found = await findStarted(folder, bootId, known);
    if (found === null) return null;
    const cgroup = findGroup(workerId, folder, this.#options);
    const shim = adoptedShim(found.shim, { folder, cgroup });
    const entry = this.#track(workerId, { folder, shim, cgroup });
    // Without a command of its own to look at, the shim's life stands for it.
    entry.main = found.main ?? found.shim;
    entry.process = found;
    entry.pursuit.sees(findAlive(this.#proc, entry.main));
    // Who lives has not ended, whatever its folder says: a worker may write there.
    const hasEnded = existsSync(folder.status) && findAlive(this.#proc, entry.main) === null;
    const status = hasEnded ? await readStatus(folder) : null;
    this.#announce(entry);
    return { process: found, exit: status && exitFromFile(status, this.#options.clock.now(), cgroup) };
  }

  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#starts.has(workerId) && !this.#entries.has(workerId)) this.#starts.end(workerId);
    else this.#known(workerId, signal)?.pursuit.signal(signal);
  }

  reap(workerId: WorkerId): void {
    this.#known(workerId, 'reap')?.pursuit.look();
  }

  record(workerId: WorkerId, record: object): void {
    const entry = this.#entries.get(workerId);
    if (entry !== undefined && entry.process !== null)
      this.#writes.add(entry.record.write({ ...record, process: entry.process }));
  }

  logPath(workerId: WorkerId): string {
    return folderOf(this.#options.instance.workersDir, workerId).log;
  }

  forget(workerId: WorkerId): void {
    const entry = this.#entries.get(workerId);
    if (!entry) return;
    entry.forgotten = true;
    // One that could not be killed is still pursued, and goes when its tree does.
    if (entry.pursuit.isOver) this.#entries.delete(workerId);
  }

  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number> {
    const inUse = (id: WorkerId) => keep.has(id) || this.#has(id);
    const { workersDir } = this.#options.instance;
    return pruneFolders({ workersDir, olderThanWallMs, keep: (name) => inUse(workerIdOf(name)) });
  }

  /** Ends no worker: they go on without a supervisor. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    for (const entry of this.#entries.values()) entry.pursuit.stop();
    await this.#writes.settled();
  }

  async #start(request: SpawnRequest, folder: WorkerFolder, wanted: AbortSignal): Promise<WorkerProcess> {
    wanted.throwIfAborted();
    const plan = await planStart(request, folder, this.#startHost);
    const entry = await this.#launch(request.workerId, plan, wanted);
    if (wanted.aborted) return this.#abandon(entry, wanted.reason);
    const { identity } = entry.shim;
    entry.main = await waitForMain(this.#proc, entry.shim, plan).catch((error: unknown) =>
      this.#abandon(entry, error),
    );
    failpoint('spawn.command-runs');
    const started = { main: entry.main, shim: identity };
    entry.process = started;
    this.record(request.workerId, request.record);
    this.#announce(entry);
    return started;
  }

  async #launch(id: WorkerId, plan: Start, wanted: AbortSignal): Promise<TrackedWorker> {
    const log = await openLog(plan.folder);
    try {
      wanted.throwIfAborted();
      if (this.#closed) throw new CurfewError('stopping', `worker ${id} was not started`);
      const shim = await startShim({
        ...plan,
        proc: this.#proc,
        bootId: this.#options.instance.bootId,
        logFd: log.fd,
      });
      failpoint('spawn.shim-started');
      return this.#track(id, { folder: plan.folder, shim, cgroup: plan.cgroup });
    } finally {
      this.#writes.add(log.close());
    }
  }

  #track(id: WorkerId, found: { folder: WorkerFolder; shim: Shim; cgroup: string | null }): TrackedWorker {
    const { folder, shim, cgroup } = found;
    const pursuit = new TreeReaper({
      aim: { workerId: id, shim: shim.identity, markPrefix: this.#markPrefix, cgroup, self: this.#self },
      proc: this.#proc,
      scanner: this.#scanner,
      log: this.#options.log,
      onTree: (left) => this.#tree(entry, left),
    });
    const entry = newTrackedWorker({ id, folder, shim, cgroup, pursuit });
    this.#entries.set(id, entry);
    this.#logs.watch(id, folder.log);
    return entry;
  }

  /** A start that failed leaves nothing behind; the listener never hears of it. */
  async #abandon(entry: TrackedWorker, error: unknown): Promise<never> {
    entry.forgotten = true;
    void entry.shim.ended.then(() => entry.pursuit.exited());
    entry.pursuit.signal('SIGKILL');
    const milliseconds = WORKERS.spawnMs;
    await pTimeout(entry.pursuit.ended, { milliseconds, fallback: () => undefined });
    throw error;
  }

  /** In a later turn, so that whoever awaits the spawn knows the worker before its end is told. */
  #announce(entry: TrackedWorker): void {
    entry.announced = true;
    setImmediate(() => void entry.shim.ended.then((exit) => this.#shimEnded(entry, exit)));
  }

  async #shimEnded(entry: TrackedWorker, exit: ShellExit): Promise<void> {
    // A child of ours: its number was its own until it was reaped just now.
    if (exit.code !== null || exit.signal !== null) entry.pursuit.holdGroup();
    if (exit.code === null && outlivesShim(entry, this.#proc, this.#options.log)) return;
    // The shim ends with the status of its command; where it was killed or is not our child, the file may still tell.
    if (exit.code === null) await this.#exitedByFile(entry);
    else this.#exited(entry, exitOf(statusOf(exit.code), this.#options.clock.now(), entry.cgroup));
  }

  async #exitedByFile(entry: TrackedWorker): Promise<void> {
    const status = await readStatus(entry.folder);
    const now = this.#options.clock.now();
    this.#exited(entry, exitFromFile(status ?? { text: '', wallMs: now.wallMs }, now, entry.cgroup));
  }

  #missed(entry: TrackedWorker): void {
    entry.missedLooks += 1;
    const shimLives = findAlive(this.#proc, entry.shim.identity) !== null;
    if (shimLives && entry.missedLooks < MISSED_LOOKS) {
      // Most likely it was stopped together with its worker.
      entry.pursuit.wakeShim();
      return;
    }
    void this.#exitedByFile(entry);
  }

  /** Told once; the look at what is left follows, also when a hung shim ends at last. */
  #exited(entry: TrackedWorker, exit: ExitInfo): void {
    if (this.#closed) return;
    if (!entry.exited) {
      failpoint('exit.seen');
      entry.exited = true;
      this.#options.listener.exited(entry.id, exit);
    }
    entry.pursuit.exited();
  }

  #tree(entry: TrackedWorker, left: number): void {
    if (left === 0) {
      failpoint('tree.gone');
      entry.shim.leave();
      this.#writes.add(this.#logs.finish(entry.id));
      if (entry.forgotten) this.#entries.delete(entry.id);
    }
    if (entry.announced) this.#options.listener.tree(entry.id, left);
  }

  #running(): TrackedWorker[] {
    return [...this.#entries.values()].filter((one) => one.announced && !one.exited);
  }

  #known(workerId: WorkerId, what: string): TrackedWorker | null {
    const entry = this.#entries.get(workerId);
    if (entry?.announced) return entry;
    this.#options.log.warn({ worker: workerId, what }, 'no such worker was started here');
    // Of one that is being started there is nothing yet, and may be later.
    if (!this.#has(workerId)) this.#lookForUnknown(workerId);
    return null;
  }

  #has(id: WorkerId): boolean {
    return this.#entries.has(id) || this.#starts.has(id);
  }

  /** Who asks must not wait for the last word of a worker that was forgotten. */
  #lookForUnknown(id: WorkerId): void {
    const means = { options: this.#options, proc: this.#proc, scanner: this.#scanner, self: this.#self };
    void isGone(id, means).then((gone) => {
      if (gone && !this.#closed && !this.#has(id)) this.#options.listener.tree(id, 0);
    });
  }
}
