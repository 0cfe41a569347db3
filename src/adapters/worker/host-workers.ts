/** The Workers port: process trees on this host. Each worker runs below its own shim. */
import { existsSync } from 'node:fs';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../core/ids.ts';
import { workerId as workerIdOf } from '../../core/ids.ts';
import type { MemorySample } from '../../core/memory-sample.ts';
import type { ExitInfo, WorkerProcess } from '../../core/model/worker.ts';
import { CurfewError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { LOGS, WORKERS } from '../../lib/limits/worker-limits.ts';
import type { Adopted, Forwarding, SpawnRequest, Workers } from '../../ports/workers.ts';
import { ownUmask } from '../../process/base-environment.ts';
import { createProcTable, findAlive } from '../../process/proc-files.ts';
import type { Scanner } from '../../process/process-scan.ts';
import { createScanner } from '../../process/process-scan.ts';
import type { Self } from '../../process/process-tree.ts';
import { exitFromFile, exitOf, statusOf } from './folder/exit-status.ts';
import { findCgroup } from './folder/find-cgroup.ts';
import { createWorkerRecords } from './folder/folder-records.ts';
import { PendingWrites } from './folder/pending-writes.ts';
import type { WorkerFolder } from './folder/worker-folder.ts';
import { appendToLog, folderOf, openLog, pruneFolders, readStatus } from './folder/worker-folder.ts';
import { ForwardClient } from './forward/forward-client.ts';
import type { TailFrom } from './forward/log-tail.ts';
import type { LogCap } from './log/log-cap.ts';
import { createLogCap } from './log/log-cap.ts';
import { LogShelf } from './log/log-shelf.ts';
import { AgentMetrics } from './metrics/agent-metrics.ts';
import { findMetrics } from './metrics/find-metrics.ts';
import { adoptedShim, findStartedWorker } from './start/adopt-shim.ts';
import type { StartHost } from './start/prepare-start.ts';
import { planStart } from './start/prepare-start.ts';
import type { ShellExit, Shim, StartPlan } from './start/spawn-shim.ts';
import { startShim, waitForMain } from './start/spawn-shim.ts';
import { StartQueue } from './start/start-queue.ts';
import { removeForeignRoots, removeLeftFolders } from './temp/temp-cleanup.ts';
import { TempFolders } from './temp/temp-folders.ts';
import type { TempOwner } from './temp/temp-root.ts';
import { placeOf } from './temp/temp-root.ts';
import { watchTempSizes } from './temp/temp-sizes.ts';
import type { TrackedWorker } from './tracked-worker.ts';
import { newTrackedWorker, orderSignal } from './tracked-worker.ts';
import { startLivenessProbe, workerOutlivesShim } from './tree/liveness-probe.ts';
import { startSampler } from './tree/resource-sampler.ts';
import { SentTerms } from './tree/sent-terms.ts';
import { TreeReaper } from './tree/tree-reaper.ts';
import { isUntrackedGone } from './untracked-worker.ts';
import type { WorkersOptions } from './workers-options.ts';

/**
 * After so many probes in a row without the worker's main process, its shim counts as hung. One probe runs each second.
 * On an overloaded host the shim writes the status late.
 */
const MISSED_PROBES = 10;

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
  readonly #forward: ForwardClient | null;
  readonly #shelf: LogShelf;
  readonly #owner: TempOwner;
  readonly #temp: TempFolders | null;
  readonly #metrics: AgentMetrics;
  readonly #entries = new Map<WorkerId, TrackedWorker>();
  readonly #starts = new StartQueue();
  readonly #writes: PendingWrites;
  readonly #stops: readonly (() => void)[];
  #closed = false;

  constructor(options: WorkersOptions) {
    const {
      instance,
      log,
      listener,
      env: environment = process.env,
      cgroups = null,
      logs = LOGS,
      temp,
    } = options;
    this.#options = options;
    this.#writes = new PendingWrites(log);
    this.#markPrefix = `CURFEW_WORKER=${instance.id}/`;
    this.#scanner = createScanner(this.#proc, this.#markPrefix);
    this.#owner = { instance: instance.id, stateDir: instance.stateDir, place: placeOf(instance.bootId) };
    this.#temp = temp == null ? null : new TempFolders({ tempDir: temp.dir, owner: this.#owner, log });
    this.#metrics = new AgentMetrics({
      records: createWorkerRecords(instance.workersDir),
      folderOf: (id) => findMetrics(id, this.#temp, this.#entries.get(id)?.main ?? null, this.#proc),
    });
    this.#startHost = {
      instance,
      environment,
      umask: ownUmask(),
      cgroups,
      maxFileBytes: logs.hardBytes,
      temp: this.#temp,
    };
    const { forward: to = 'off' } = options;
    this.#forward = to === 'off' ? null : new ForwardClient({ to, workersDir: instance.workersDir, log });
    this.#logs = createLogCap({ log, sizes: logs, forward: this.#forward });
    this.#shelf = new LogShelf({
      workersDir: instance.workersDir,
      log,
      limitBytes: options.logsTotalBytes ?? (() => Number.POSITIVE_INFINITY),
    });
    this.#self = { pid: process.pid, pgid: this.#proc.stat(process.pid)?.pgid ?? process.pid };
    const sampler = {
      scanner: this.#scanner,
      self: this.#self,
      log,
      everyMs: options.sampleMs ?? WORKERS.sampleMs,
      trees: () => this.#running().map(({ reaper, cgroup }) => ({ subject: reaper.subject, cgroup })),
      limitOf: (id: WorkerId) => listener.memoryLimit(id),
      onSample: (id: WorkerId, memory: MemorySample, cpuPercent: number) =>
        listener.resources(id, memory, cpuPercent),
    };
    const liveness = {
      proc: this.#proc,
      log,
      workers: () => this.#running(),
      onMissed: (entry: TrackedWorker) => this.#probeMissed(entry),
    };
    this.#stops = [
      startSampler(sampler),
      startLivenessProbe(liveness),
      ...this.#watchTemp(temp?.maxBytes ?? 0),
    ];
  }

  async spawn(request: SpawnRequest): Promise<WorkerProcess> {
    const { workerId } = request;
    const folder = folderOf(this.#options.instance.workersDir, workerId);
    if (this.#has(workerId)) throw new CurfewError('internal', `worker ${workerId} was started before`);
    return this.#starts
      .run(workerId, (signal) => this.#start(request, folder, signal))
      .catch((error: unknown) => {
        if (!this.#entries.has(workerId)) this.#temp?.remove(workerId, () => this.#metrics.retain(workerId));
        throw error;
      });
  }

  async adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null> {
    const { workersDir, bootId } = this.#options.instance;
    const folder = folderOf(workersDir, workerId);
    const found = await findStartedWorker(folder, bootId, known);
    if (found === null) return null;
    this.#metrics.watch(workerId, null);
    const cgroup = findCgroup(workerId, folder, this.#options);
    const shim = adoptedShim(found.shim, { folder, cgroup });
    const entry = this.#track(workerId, { folder, shim, cgroup, from: 'noted' });
    // Where the command's pid is unknown, the shim is probed instead.
    entry.main = found.main ?? found.shim;
    entry.process = found;
    entry.reaper.mainSeen(findAlive(this.#proc, entry.main));
    // A living main process disproves the status file, because a worker can write to its folder.
    const hasEnded = existsSync(folder.status) && findAlive(this.#proc, entry.main) === null;
    const status = hasEnded ? await readStatus(folder) : null;
    this.#announce(entry);
    return { process: found, exit: status && exitFromFile(status, this.#options.clock.now(), cgroup) };
  }

  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void {
    if (this.#starts.has(workerId) && !this.#entries.has(workerId)) this.#starts.cancel(workerId);
    else orderSignal(this.#find(workerId, signal), signal, to);
  }

  reap(workerId: WorkerId): void {
    this.#find(workerId, 'reap')?.reaper.requestScan();
  }

  record(workerId: WorkerId, record: object): void {
    this.#forward?.recorded(workerId, record);
    const entry = this.#entries.get(workerId);
    if (entry !== undefined && entry.process !== null)
      this.#writes.add(entry.record.write({ ...record, process: entry.process }));
  }

  logPath(workerId: WorkerId): string {
    return folderOf(this.#options.instance.workersDir, workerId).log;
  }

  note(workerId: WorkerId, line: string): void {
    this.#writes.add(appendToLog(folderOf(this.#options.instance.workersDir, workerId), line));
  }

  forwarding(): Forwarding | null {
    return this.#forward?.status() ?? null;
  }

  metricsOf(agent: string): Promise<string> {
    return this.#metrics.print(agent);
  }

  forget(workerId: WorkerId): void {
    const entry = this.#entries.get(workerId);
    if (!entry) return;
    entry.forgotten = true;
    // The reaper needs the entry until the tree is gone. Then `#treeChanged` deletes it.
    if (entry.reaper.isOver) this.#shelve(workerId);
  }

  /** The log counts from now on as that of an ended worker. Its last record and its last cut come first. */
  #shelve(id: WorkerId): void {
    this.#entries.delete(id);
    void this.#writes.settled().then(() => this.#shelf.add(id));
  }

  loadEndedLogs(keep: ReadonlySet<WorkerId>): Promise<void> {
    return this.#shelf.load((id) => keep.has(id) || this.#has(id));
  }

  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number> {
    const inUse = (id: WorkerId) => keep.has(id) || this.#has(id);
    const { workersDir } = this.#options.instance;
    return pruneFolders({ workersDir, olderThanWallMs, keep: (name) => inUse(workerIdOf(name)) });
  }

  /** Workers keep running without a supervisor. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    for (const entry of this.#entries.values()) entry.reaper.stop();
    await this.#writes.settled();
    await Promise.all([this.#temp?.close(), this.#shelf.close(), this.#logs.close()]);
  }

  async removeLeftTemp(): Promise<number> {
    const { cgroups = null, temp } = this.#options;
    if (this.#temp === null || temp == null) return 0;
    const known = () => [...this.#entries.keys(), ...this.#starts.ids()];
    const left = await removeLeftFolders({ temp: this.#temp, scanner: this.#scanner, cgroups, known });
    return left + (await removeForeignRoots(temp.dir, this.#owner, this.#proc));
  }

  #watchTemp(maxBytes: number): (() => void)[] {
    if (this.#temp === null) return [];
    const workers = () => this.#running().map((one) => one.id);
    return [watchTempSizes({ temp: this.#temp, maxBytes, log: this.#options.log, workers })];
  }

  async #start(request: SpawnRequest, folder: WorkerFolder, signal: AbortSignal): Promise<WorkerProcess> {
    signal.throwIfAborted();
    const plan = await planStart(request, folder, this.#startHost);
    this.#metrics.watch(request.workerId, request.profile.agent);
    const entry = await this.#launch(request.workerId, plan, signal);
    if (signal.aborted) return this.#abandon(entry, signal.reason);
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

  async #launch(id: WorkerId, plan: StartPlan, signal: AbortSignal): Promise<TrackedWorker> {
    const log = await openLog(plan.folder);
    try {
      signal.throwIfAborted();
      if (this.#closed) throw new CurfewError('stopping', `worker ${id} was not started`);
      const shim = await startShim({
        ...plan,
        proc: this.#proc,
        bootId: this.#options.instance.bootId,
        logFd: log.fd,
      });
      failpoint('spawn.shim-started');
      return this.#track(id, { folder: plan.folder, shim, cgroup: plan.cgroup, from: 'start' });
    } finally {
      this.#writes.add(log.close());
    }
  }

  #track(
    id: WorkerId,
    found: { folder: WorkerFolder; shim: Shim; cgroup: string | null; from: TailFrom },
  ): TrackedWorker {
    const { folder, shim, cgroup } = found;
    const reaper = new TreeReaper({
      aim: { workerId: id, shim: shim.identity, markPrefix: this.#markPrefix, cgroup, self: this.#self },
      sentTerms: new SentTerms(folder.terms),
      proc: this.#proc,
      scanner: this.#scanner,
      log: this.#options.log,
      onTree: (left) => this.#treeChanged(entry, left),
    });
    const entry = newTrackedWorker({ id, folder, shim, cgroup, reaper });
    this.#entries.set(id, entry);
    this.#logs.watch(id, folder.log, found.from);
    return entry;
  }

  /** Kills what a failed start left. The listener gets no event of it. */
  async #abandon(entry: TrackedWorker, error: unknown): Promise<never> {
    entry.forgotten = true;
    void entry.shim.ended.then(() => entry.reaper.exited());
    entry.reaper.signal('SIGKILL');
    const milliseconds = WORKERS.spawnMs;
    await pTimeout(entry.reaper.ended, { milliseconds, fallback: () => undefined });
    throw error;
  }

  /** Race: the worker can end at once. The end is reported in a later turn, after the caller got the result of the spawn. */
  #announce(entry: TrackedWorker): void {
    entry.announced = true;
    setImmediate(() => void entry.shim.ended.then((exit) => this.#shimEnded(entry, exit)));
  }

  async #shimEnded(entry: TrackedWorker, exit: ShellExit): Promise<void> {
    // The shim is our child and was reaped just now, so until now its number was its own.
    if (exit.code !== null || exit.signal !== null) entry.reaper.confirmGroup();
    if (exit.code === null && workerOutlivesShim(entry, this.#proc, this.#options.log)) return;
    // The shim exits with its command's status. If it was killed or is not our child, the status file may exist.
    if (exit.code === null) await this.#exitedByFile(entry);
    else this.#exited(entry, exitOf(statusOf(exit.code), this.#options.clock.now(), entry.cgroup));
  }

  async #exitedByFile(entry: TrackedWorker): Promise<void> {
    const status = await readStatus(entry.folder);
    const now = this.#options.clock.now();
    this.#exited(entry, exitFromFile(status ?? { text: '', wallMs: now.wallMs }, now, entry.cgroup));
  }

  #probeMissed(entry: TrackedWorker): void {
    entry.missedProbes += 1;
    const shimLives = findAlive(this.#proc, entry.shim.identity) !== null;
    if (shimLives && entry.missedProbes < MISSED_PROBES) {
      // A living shim that does not write the status was probably stopped together with its worker.
      entry.reaper.wakeShim();
      return;
    }
    void this.#exitedByFile(entry);
  }

  /** Reports the exit once. The scan of the remaining tree follows each call, also when a hung shim ends later. */
  #exited(entry: TrackedWorker, exit: ExitInfo): void {
    if (this.#closed) return;
    if (!entry.exited) {
      failpoint('exit.seen');
      entry.exited = true;
      this.#options.listener.exited(entry.id, exit);
    }
    entry.reaper.exited();
  }

  #treeChanged(entry: TrackedWorker, left: number): void {
    if (left === 0) {
      failpoint('tree.gone');
      entry.shim.stopWatching();
      this.#writes.add(this.#logs.finish(entry.id));
      this.#temp?.remove(entry.id, () => this.#metrics.retain(entry.id));
      if (entry.forgotten) this.#shelve(entry.id);
    }
    if (entry.announced) this.#options.listener.tree(entry.id, left);
  }

  #running(): TrackedWorker[] {
    return [...this.#entries.values()].filter((one) => one.announced && !one.exited);
  }

  #find(workerId: WorkerId, what: string): TrackedWorker | null {
    const entry = this.#entries.get(workerId);
    if (entry?.announced) return entry;
    this.#options.log.warn(
      { worker: workerId, what },
      'the supervisor tracks no running worker with this id; unless it is starting, its processes are searched',
    );
    // A worker that is being started has no process yet, so a probe would wrongly find it gone.
    if (!this.#has(workerId)) this.#probeUntracked(workerId);
    return null;
  }

  #has(id: WorkerId): boolean {
    return this.#entries.has(id) || this.#starts.has(id);
  }

  /** Reports the end of an untracked worker. Otherwise a session would wait for it forever. */
  #probeUntracked(id: WorkerId): void {
    const context = { host: this.#options, proc: this.#proc, scanner: this.#scanner, self: this.#self };
    void isUntrackedGone(id, context).then((gone) => {
      if (gone && !this.#closed && !this.#has(id)) this.#options.listener.tree(id, 0);
    });
  }
}
