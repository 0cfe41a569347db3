/** Builds the parts of the Workers adapter, and starts the watches over all live workers. */
import type { WorkerId } from '../../core/ids.ts';
import { LOGS, WORKERS } from '../../lib/limits/worker-limits.ts';
import { ownUmask } from '../../process/base-environment.ts';
import { ownCgroup } from '../../process/cgroup.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { createProcTable } from '../../process/proc-files.ts';
import type { Scanner } from '../../process/process-scan.ts';
import { createScanner } from '../../process/process-scan.ts';
import type { Self } from '../../process/process-tree.ts';
import { createWorkerRecords } from './folder/folder-records.ts';
import { PendingWrites } from './folder/pending-writes.ts';
import { ForwardClient } from './forward/forward-client.ts';
import type { LogCap } from './log/log-cap.ts';
import { createLogCap } from './log/log-cap.ts';
import { LogShelf } from './log/log-shelf.ts';
import { AgentMetrics } from './metrics/agent-metrics.ts';
import { findMetrics } from './metrics/find-metrics.ts';
import type { StartHost } from './start/prepare-start.ts';
import { TempFolders } from './temp/temp-folders.ts';
import type { TempOwner } from './temp/temp-root.ts';
import { placeOf } from './temp/temp-root.ts';
import { watchTempSizes } from './temp/temp-sizes.ts';
import type { TrackedWorker } from './tracked-worker.ts';
import { startLivenessProbe } from './tree/liveness-probe.ts';
import { startSampler } from './tree/resource-sampler.ts';
import type { WorkersOptions } from './workers-options.ts';

export interface WorkerParts {
  readonly options: WorkersOptions;
  readonly proc: ProcTable;
  readonly markPrefix: string;
  readonly scanner: Scanner;
  readonly self: Self;
  readonly startHost: StartHost;
  readonly writes: PendingWrites;
  readonly logs: LogCap;
  readonly shelf: LogShelf;
  /** `null`: no line is forwarded. */
  readonly forward: ForwardClient | null;
  readonly owner: TempOwner;
  /** `null`: no temporary folders are made. */
  readonly temp: TempFolders | null;
  readonly metrics: AgentMetrics;
  readonly entries: Map<WorkerId, TrackedWorker>;
  /** Aborted: the supervisor closes. No worker starts, and no exit is reported. */
  readonly closing: AbortController;
}

export function makeWorkerParts(options: WorkersOptions): WorkerParts {
  const { instance, log, env: environment = process.env, cgroups = null, logs: sizes = LOGS } = options;
  const { workersDir } = instance;
  const proc = createProcTable();
  const markPrefix = `CURFEW_WORKER=${instance.id}/`;
  const entries = new Map<WorkerId, TrackedWorker>();
  const owner = { instance: instance.id, stateDir: instance.stateDir, place: placeOf(instance.bootId) };
  const temp = options.temp == null ? null : new TempFolders({ tempDir: options.temp.dir, owner, log });
  const { forward: to = 'off' } = options;
  const forward = to === 'off' ? null : new ForwardClient({ to, workersDir, log });
  return {
    options,
    proc,
    markPrefix,
    scanner: createScanner(proc, markPrefix),
    self: { pid: process.pid, pgid: proc.stat(process.pid)?.pgid ?? process.pid },
    startHost: {
      instance,
      environment,
      umask: ownUmask(),
      cgroups,
      shimCgroup: cgroups === null ? null : ownCgroup(),
      maxFileBytes: sizes.hardBytes,
      temp,
    },
    writes: new PendingWrites(log),
    logs: createLogCap({ log, sizes, forward }),
    shelf: new LogShelf({
      workersDir,
      log,
      limitBytes: options.logsTotalBytes ?? (() => Number.POSITIVE_INFINITY),
    }),
    forward,
    owner,
    temp,
    metrics: new AgentMetrics({
      records: createWorkerRecords(workersDir),
      folderOf: (id) => findMetrics(id, temp, entries.get(id)?.main ?? null, proc),
    }),
    entries,
    closing: new AbortController(),
  };
}

/** Workers that run now, as the listener knows. */
function running({ entries }: WorkerParts): TrackedWorker[] {
  return [...entries.values()].filter((one) => one.announced && !one.exited);
}

/** Measures and probes the workers until the returned function is called. `onMissed`: a probe did not find the main process. */
export function startWatches(parts: WorkerParts, onMissed: (entry: TrackedWorker) => void): () => void {
  const { options, proc, scanner, self, temp } = parts;
  const { log, listener } = options;
  const stops = [
    startSampler({
      scanner,
      self,
      log,
      everyMs: options.sampleMs ?? WORKERS.sampleMs,
      trees: () => running(parts).map(({ reaper, cgroup }) => ({ subject: reaper.subject, cgroup })),
      limitOf: (id) => listener.memoryLimit(id),
      onSample: (id, memory, cpuPercent) => listener.resources(id, memory, cpuPercent),
    }),
    startLivenessProbe({ proc, log, workers: () => running(parts), onMissed }),
  ];
  if (temp !== null) {
    const workers = () => running(parts).map((one) => one.id);
    stops.push(watchTempSizes({ temp, maxBytes: options.temp?.maxBytes ?? 0, log, workers }));
  }
  return () => {
    for (const stop of stops) stop();
  };
}
