/** The metrics of each agent: the sum over its live workers, and what its ended workers have left. */
import type { WorkerId } from '../../../core/ids.ts';
import type { Series, Sums } from '../../../core/workers/metric-sums.ts';
import { addSeries, lasting, printMetrics } from '../../../core/workers/metric-sums.ts';
import { METRICS } from '../../../lib/limits/metric-limits.ts';
import type { WorkerRecords } from '../../../ports/worker-records.ts';
import { readMetricFiles } from './metric-files.ts';

interface MetricsOptions {
  readonly records: WorkerRecords;
  /** The folder with the worker's metrics. `isForeign`: it goes with the worker's last process. `null`: there is none, or it is gone. */
  readonly folderOf: (id: WorkerId) => Promise<{ readonly path: string; readonly isForeign: boolean } | null>;
}

export class AgentMetrics {
  readonly #options: MetricsOptions;
  /** The workers whose files count. `null`: the record names the agent. */
  readonly #workers = new Map<WorkerId, string | null>();
  /** The last series that were read. Only of workers whose folder goes with them. */
  readonly #seen = new Map<WorkerId, Series[]>();
  readonly #ended = new Map<string, Sums>();

  constructor(options: MetricsOptions) {
    this.#options = options;
  }

  watch(id: WorkerId, agent: string | null): void {
    this.#workers.set(id, agent ?? this.#workers.get(id) ?? null);
  }

  /** Keeps the counters of an ended worker. Call it before its folder is removed. */
  async retain(id: WorkerId): Promise<void> {
    const [agent, series] = await Promise.all([this.#agentOf(id), this.#read(id)]);
    // Race: a request reads the same files now. In this turn the worker passes from the live ones to the ended ones.
    this.#seen.delete(id);
    if (!this.#workers.delete(id)) return;
    if (agent !== null && series.length > 0)
      this.#ended.set(
        agent,
        addSeries(this.#ended.get(agent) ?? new Map(), lasting(series), METRICS.agentSeries),
      );
  }

  /** The text for Prometheus. */
  async print(agent: string): Promise<string> {
    const read: [WorkerId, Series[]][] = [];
    for (const id of [...this.#workers.keys()])
      if ((await this.#agentOf(id)) === agent) read.push([id, await this.#read(id)]);
    let sums = this.#ended.get(agent) ?? new Map();
    for (const [id, series] of read)
      if (this.#workers.has(id)) sums = addSeries(sums, series, METRICS.agentSeries);
    return printMetrics(sums);
  }

  async #agentOf(id: WorkerId): Promise<string | null> {
    const known = this.#workers.get(id);
    if (known != null) return known;
    const { records } = this.#options;
    const record = (await records.read(id))?.session.spec.profile ?? (await records.readWarm(id))?.profile;
    if (record !== undefined && this.#workers.has(id)) this.#workers.set(id, record.agent);
    return record?.agent ?? null;
  }

  async #read(id: WorkerId): Promise<Series[]> {
    const folder = await this.#options.folderOf(id);
    if (folder === null) return this.#seen.get(id) ?? [];
    const series = await readMetricFiles(folder.path);
    if (folder.isForeign && series.length > 0 && this.#workers.has(id)) this.#seen.set(id, series);
    return series;
  }
}
