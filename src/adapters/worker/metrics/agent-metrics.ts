/** The metrics of each agent: the sum over its live workers, and what its ended workers have left. */
import { setImmediate } from 'node:timers/promises';
import type { WorkerId } from '../../../core/ids.ts';
import type { Series, Sums } from '../../../core/workers/metric-sums.ts';
import { addSeries, copySums, emptySums, lasting, printMetrics } from '../../../core/workers/metric-sums.ts';
import { METRICS } from '../../../lib/limits/metric-limits.ts';
import type { WorkerRecords } from '../../../ports/worker-records.ts';
import type { ReadBudget } from './metric-files.ts';
import { readMetricFiles } from './metric-files.ts';

interface MetricsOptions {
  readonly records: WorkerRecords;
  /** The folder with the worker's metrics. `isForeign`: it goes with the worker's last process. `null`: there is none, or it is gone. */
  readonly folderOf: (id: WorkerId) => Promise<{ readonly path: string; readonly isForeign: boolean } | null>;
}

const BOUNDS = { series: METRICS.agentSeries, chars: METRICS.agentChars };

export class AgentMetrics {
  readonly #options: MetricsOptions;
  /** The workers whose files count. `null`: the record names the agent. */
  readonly #workers = new Map<WorkerId, string | null>();
  /** The last series that were read. Only of workers whose folder goes with them. */
  readonly #seen = new Map<WorkerId, Series[]>();
  readonly #ended = new Map<string, Sums>();
  readonly #printing = new Map<string, Promise<string>>();

  constructor(options: MetricsOptions) {
    this.#options = options;
  }

  watch(id: WorkerId, agent: string | null): void {
    this.#workers.set(id, agent ?? this.#workers.get(id) ?? null);
  }

  /** Keeps the counters of an ended worker. Call it before its folder is removed. */
  async retain(id: WorkerId): Promise<void> {
    const budget = { bytes: METRICS.workerBytes, series: METRICS.workerSeries };
    const [agent, series] = await Promise.all([this.#agentOf(id), this.#read(id, budget)]);
    // Race: a request reads the same files now. In this turn the worker passes from the live ones to the ended ones.
    this.#seen.delete(id);
    if (!this.#workers.delete(id)) return;
    if (agent === null || series.length === 0) return;
    // A request may still read the old sums, so these are new ones.
    this.#ended.set(agent, addSeries(this.#sumsOf(agent), lasting(series), BOUNDS));
  }

  /** The text for Prometheus. Requests at the same time share one answer. */
  print(agent: string): Promise<string> {
    const running = this.#printing.get(agent);
    if (running !== undefined) return running;
    const printed = this.#print(agent).finally(() => this.#printing.delete(agent));
    this.#printing.set(agent, printed);
    return printed;
  }

  async #print(agent: string): Promise<string> {
    const read: [WorkerId, Series[]][] = [];
    const budget = { bytes: METRICS.readBytes, series: METRICS.readSeries };
    for (const id of [...this.#workers.keys()])
      if ((await this.#agentOf(id)) === agent) read.push([id, await this.#read(id, budget)]);
    // Race: a worker that ends later counts as a live one here, because its end does not change these sums.
    const sums = this.#sumsOf(agent);
    const live = read.filter(([id]) => this.#workers.has(id));
    for (const [, series] of live)
      for (let at = 0; at < series.length; at += METRICS.turnSeries) {
        addSeries(sums, series.slice(at, at + METRICS.turnSeries), BOUNDS);
        await setImmediate();
      }
    return textOf(sums);
  }

  #sumsOf(agent: string): Sums {
    return copySums(this.#ended.get(agent) ?? emptySums());
  }

  async #agentOf(id: WorkerId): Promise<string | null> {
    const known = this.#workers.get(id);
    if (known != null) return known;
    const { records } = this.#options;
    const record = (await records.read(id))?.session.spec.profile ?? (await records.readWarm(id))?.profile;
    if (record !== undefined && this.#workers.has(id)) this.#workers.set(id, record.agent);
    return record?.agent ?? null;
  }

  async #read(id: WorkerId, budget: ReadBudget): Promise<Series[]> {
    const folder = await this.#options.folderOf(id);
    if (folder === null) return this.#seen.get(id) ?? [];
    const series = await readMetricFiles(folder.path, budget);
    if (folder.isForeign && series.length > 0 && this.#workers.has(id)) this.#seen.set(id, series);
    return series;
  }
}

/** Whole lines up to the bound. */
async function textOf(sums: Sums): Promise<string> {
  const lines: string[] = [];
  let bytes = 0;
  for (const line of printMetrics(sums)) {
    bytes += Buffer.byteLength(line);
    if (bytes > METRICS.answerBytes) break;
    lines.push(line);
    if (lines.length % METRICS.turnSeries === 0) await setImmediate();
  }
  return lines.join('');
}
