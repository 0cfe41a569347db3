/** The Workers port: process trees on this host. Each worker runs below its own shim. */
import { existsSync } from 'node:fs';
import pTimeout from 'p-timeout';
import type { WorkerId } from '../../core/ids.ts';
import { workerId as workerIdOf } from '../../core/ids.ts';
import type { WorkerProcess } from '../../core/model/worker.ts';
import { CurfewError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { WORKERS } from '../../lib/limits/worker-limits.ts';
import type { Adopted, Forwarding, SpawnRequest, Workers } from '../../ports/workers.ts';
import { findAlive } from '../../process/proc-files.ts';
import { exitFromFile } from './folder/exit-status.ts';
import { findCgroup } from './folder/find-cgroup.ts';
import type { WorkerFolder } from './folder/worker-folder.ts';
import { appendToLog, folderOf, openLog, pruneFolders, readStatus } from './folder/worker-folder.ts';
import type { TailFrom } from './forward/log-tail.ts';
import { adoptedShim, findStartedWorker } from './start/adopt-shim.ts';
import { forkShim } from './start/fork-shim.ts';
import { planStart } from './start/prepare-start.ts';
import type { Shim, StartPlan } from './start/spawn-shim.ts';
import { startShim, waitForMain } from './start/spawn-shim.ts';
import { StartQueue } from './start/start-queue.ts';
import { removeForeignRoots, removeLeftFolders } from './temp/temp-cleanup.ts';
import type { TrackedWorker } from './tracked-worker.ts';
import { newTrackedWorker, orderSignal } from './tracked-worker.ts';
import { SentTerms } from './tree/sent-terms.ts';
import { TreeReaper } from './tree/tree-reaper.ts';
import { isUntrackedGone } from './untracked-worker.ts';
import { WorkerEnd } from './worker-end.ts';
import type { WorkerParts } from './worker-parts.ts';
import { makeWorkerParts, startWatches } from './worker-parts.ts';
import type { WorkersOptions } from './workers-options.ts';

const FOLDER_STAYS = 'the folder of an ended worker could not be removed; the next retention tries again';

export function createWorkers(options: WorkersOptions): Workers {
  return new HostWorkers(options);
}

class HostWorkers implements Workers {
  readonly #options: WorkersOptions;
  readonly #parts: WorkerParts;
  readonly #end: WorkerEnd;
  readonly #starts = new StartQueue();
  readonly #stopWatches: () => void;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#parts = makeWorkerParts(options);
    this.#end = new WorkerEnd(this.#parts);
    this.#stopWatches = startWatches(this.#parts, (entry) => this.#end.probeMissed(entry));
  }

  async spawn(request: SpawnRequest): Promise<WorkerProcess> {
    const { workerId } = request;
    const { entries, temp, metrics } = this.#parts;
    const folder = this.#folderOf(workerId);
    if (this.#has(workerId)) throw new CurfewError('internal', `worker ${workerId} was started before`);
    return this.#starts
      .run(workerId, (signal) => this.#start(request, folder, signal))
      .catch((error: unknown) => {
        if (!entries.has(workerId)) temp?.remove(workerId, () => metrics.retain(workerId));
        throw error;
      });
  }

  async adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null> {
    const { proc, metrics } = this.#parts;
    const folder = this.#folderOf(workerId);
    const found = await findStartedWorker(folder, this.#options.instance.bootId, known);
    if (found === null) return null;
    metrics.watch(workerId, null);
    const cgroup = findCgroup(workerId, folder, this.#options);
    const shim = adoptedShim(found.shim, { folder, cgroup });
    const entry = this.#track(workerId, { folder, shim, cgroup, from: 'noted' });
    // Where the command's pid is unknown, the shim is probed instead.
    entry.main = found.main ?? found.shim;
    entry.process = found;
    entry.reaper.mainSeen(findAlive(proc, entry.main));
    // A living main process disproves the status file, because a worker can write to its folder.
    const hasEnded = existsSync(folder.status) && findAlive(proc, entry.main) === null;
    const status = hasEnded ? await readStatus(folder) : null;
    this.#end.announce(entry);
    return { process: found, exit: status && exitFromFile(status, this.#options.clock.now(), cgroup) };
  }

  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void {
    if (this.#starts.has(workerId) && !this.#parts.entries.has(workerId)) this.#starts.cancel(workerId);
    else orderSignal(this.#find(workerId, signal), signal, to);
  }

  reap(workerId: WorkerId): void {
    this.#find(workerId, 'reap')?.reaper.requestScan();
  }

  record(workerId: WorkerId, record: object): void {
    const { forward, entries, writes } = this.#parts;
    forward?.recorded(workerId, record);
    const entry = entries.get(workerId);
    if (entry !== undefined && entry.process !== null)
      writes.add(entry.record.write({ ...record, process: entry.process }));
  }

  logPath(workerId: WorkerId): string {
    return this.#folderOf(workerId).log;
  }

  note(workerId: WorkerId, line: string): void {
    this.#parts.writes.add(appendToLog(this.#folderOf(workerId), line));
  }

  forwarding(): Forwarding | null {
    return this.#parts.forward?.status() ?? null;
  }

  metricsOf(agent: string): Promise<string> {
    return this.#parts.metrics.print(agent);
  }

  forget(workerId: WorkerId): void {
    const entry = this.#parts.entries.get(workerId);
    if (entry) this.#end.forget(entry);
  }

  loadEndedLogs(keep: ReadonlySet<WorkerId>): Promise<void> {
    return this.#parts.shelf.load((id) => keep.has(id) || this.#has(id));
  }

  prune(olderThanWallMs: number, keep: ReadonlySet<WorkerId>): Promise<number> {
    const inUse = (id: WorkerId) => keep.has(id) || this.#has(id);
    const { instance, log } = this.#options;
    return pruneFolders({
      workersDir: instance.workersDir,
      olderThanWallMs,
      keep: (name) => inUse(workerIdOf(name)),
      failed: (worker, error) => log.warn({ worker, error }, FOLDER_STAYS),
    });
  }

  /** Workers keep running without a supervisor. */
  async close(): Promise<void> {
    const { closing, entries, writes, temp, shelf, logs } = this.#parts;
    closing.abort();
    this.#stopWatches();
    for (const entry of entries.values()) entry.reaper.stop();
    await writes.settled();
    await Promise.all([temp?.close(), shelf.close(), logs.close()]);
  }

  async removeLeftTemp(): Promise<number> {
    const { cgroups = null, temp: options } = this.#options;
    const { temp, scanner, entries, owner, proc } = this.#parts;
    if (temp === null || options == null) return 0;
    const known = () => [...entries.keys(), ...this.#starts.ids()];
    const left = await removeLeftFolders({ temp, scanner, cgroups, known });
    return left + (await removeForeignRoots(options.dir, owner, proc));
  }

  async #start(request: SpawnRequest, folder: WorkerFolder, signal: AbortSignal): Promise<WorkerProcess> {
    signal.throwIfAborted();
    const { startHost, metrics, proc, shelf } = this.#parts;
    await shelf.makeRoom();
    const plan = await planStart(request, folder, startHost);
    metrics.watch(request.workerId, request.profile.agent);
    const entry = await this.#launch(request, plan, signal);
    if (signal.aborted) return this.#abandon(entry, signal.reason);
    const { identity } = entry.shim;
    entry.main = await waitForMain(proc, entry.shim, plan).catch((error: unknown) =>
      this.#abandon(entry, error),
    );
    failpoint('spawn.command-runs');
    const started = { main: entry.main, shim: identity };
    entry.process = started;
    this.record(request.workerId, request.record);
    this.#end.announce(entry);
    return started;
  }

  async #launch(request: SpawnRequest, plan: StartPlan, signal: AbortSignal): Promise<TrackedWorker> {
    const { workerId: id } = request;
    const { proc, closing, writes } = this.#parts;
    const log = await openLog(plan.folder);
    try {
      signal.throwIfAborted();
      if (closing.signal.aborted) throw new CurfewError('stopping', `worker ${id} was not started`);
      const { bootId } = this.#options.instance;
      const { shimCgroup } = this.#parts.startHost;
      const startCold = () => startShim({ ...plan, proc, bootId, logFd: log.fd });
      const shim = (await forked(request, plan, { bootId, shimCgroup, startCold })) ?? (await startCold());
      failpoint('spawn.shim-started');
      return this.#track(id, { folder: plan.folder, shim, cgroup: plan.cgroup, from: 'start' });
    } finally {
      writes.add(log.close());
    }
  }

  #track(
    id: WorkerId,
    found: { folder: WorkerFolder; shim: Shim; cgroup: string | null; from: TailFrom },
  ): TrackedWorker {
    const { folder, shim, cgroup } = found;
    const { markPrefix, self, proc, scanner, entries, logs } = this.#parts;
    const reaper = new TreeReaper({
      aim: { workerId: id, shim: shim.identity, markPrefix, cgroup, self },
      sentTerms: new SentTerms(folder.terms),
      proc,
      scanner,
      log: this.#options.log,
      onTree: (left) => this.#end.treeChanged(entry, left),
    });
    const entry = newTrackedWorker({ id, folder, shim, cgroup, reaper });
    entries.set(id, entry);
    logs.watch(id, folder.log, found.from);
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

  #find(workerId: WorkerId, what: string): TrackedWorker | null {
    const entry = this.#parts.entries.get(workerId);
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
    return this.#parts.entries.has(id) || this.#starts.has(id);
  }

  #folderOf(id: WorkerId): WorkerFolder {
    return folderOf(this.#options.instance.workersDir, id);
  }

  /** Reports the end of an untracked worker. Otherwise a session would wait for it forever. */
  #probeUntracked(id: WorkerId): void {
    const { proc, scanner, self, closing } = this.#parts;
    void isUntrackedGone(id, { host: this.#options, proc, scanner, self }).then((gone) => {
      if (gone && !closing.signal.aborted && !this.#has(id)) this.#options.listener.tree(id, 0);
    });
  }
}

/** `null`: the worker has no zygote, or the zygote did not fork it. */
async function forked(
  { fork, forkFailed }: SpawnRequest,
  plan: StartPlan,
  host: Pick<Parameters<typeof forkShim>[1], 'bootId' | 'shimCgroup' | 'startCold'>,
): Promise<Shim | null> {
  if (fork === undefined) return null;
  return forkShim(plan, { ...host, send: fork, failed: (why) => forkFailed?.(why) });
}
