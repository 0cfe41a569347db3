/** Which logs of ended workers go when they need too much room. The adapter cuts the files. */
import type { WorkerId } from '../ids.ts';

export interface EndedLog {
  readonly worker: WorkerId;
  readonly agent: string;
  /** Unix time in milliseconds. */
  readonly endedAtMs: number;
  readonly bytes: number;
  /** The session failed, or the worker was replaced after a crash. Then the end of its log goes last. */
  readonly hasFailed: boolean;
}

export interface LogDrop {
  readonly worker: WorkerId;
  /** This much of the log's end stays. */
  readonly keepBytes: number;
}

export interface LogBudget {
  /** Afterwards all logs together have at most this many bytes. */
  readonly limitBytes: number;
  /** The end of a failed session's log. */
  readonly tailBytes: number;
  /** While other agents have logs, an agent with more than this share of the limit loses its own logs first. */
  readonly agentShare: number;
}

/**
 * First the agent that holds most loses logs, while an agent holds more than its share. Then all agents do. In both cases the
 * oldest go first, and the ends of failed sessions' logs after everything else. So an agent that crashes again and again evicts its own logs alone.
 */
export function planDrops(logs: readonly EndedLog[], budget: LogBudget): LogDrop[] {
  const oldestFirst = logs.filter((one) => one.bytes > 0).sort((a, b) => a.endedAtMs - b.endedAtMs);
  const plan = new DropPlan(oldestFirst, budget.limitBytes);
  const queues = new Map<string, Cut[]>();
  for (const cut of cutsOf(oldestFirst, budget.tailBytes)) {
    const queue = queues.get(cut.log.agent) ?? [];
    queue.push(cut);
    queues.set(cut.log.agent, queue);
  }
  while (queues.size > 1 && !plan.isSmall()) {
    const largest = plan.largestOver(budget.limitBytes * budget.agentShare);
    const cut = largest === null ? undefined : queues.get(largest)?.shift();
    if (cut === undefined) break;
    plan.cut(cut);
  }
  for (const cut of cutsOf(oldestFirst, budget.tailBytes)) if (!plan.isSmall()) plan.cut(cut);
  return plan.drops();
}

interface Cut {
  readonly log: EndedLog;
  readonly keepBytes: number;
}

/** The ends of failed sessions' logs come last. */
function cutsOf(oldestFirst: readonly EndedLog[], tailBytes: number): Cut[] {
  return [
    ...oldestFirst.map((log) => ({ log, keepBytes: log.hasFailed ? tailBytes : 0 })),
    ...oldestFirst.filter((one) => one.hasFailed).map((log) => ({ log, keepBytes: 0 })),
  ];
}

/** The bytes that are left of each log, and their sums. Each call of `planDrops` makes one, and changes nothing else. */
class DropPlan {
  readonly #limitBytes: number;
  readonly #left = new Map<WorkerId, number>();
  readonly #changed = new Set<WorkerId>();
  readonly #perAgent = new Map<string, number>();
  #total = 0;

  constructor(logs: readonly EndedLog[], limitBytes: number) {
    this.#limitBytes = limitBytes;
    for (const one of logs) this.#set(one, one.bytes);
  }

  isSmall(): boolean {
    return this.#total <= this.#limitBytes;
  }

  /** The agent that holds most. `null`: none holds more than `shareBytes`. */
  largestOver(shareBytes: number): string | null {
    let [largest, most]: [string | null, number] = [null, shareBytes];
    for (const [agent, bytes] of this.#perAgent) if (bytes > most) [largest, most] = [agent, bytes];
    return largest;
  }

  drops(): LogDrop[] {
    return [...this.#changed].map((worker) => ({ worker, keepBytes: this.#left.get(worker) ?? 0 }));
  }

  cut({ log, keepBytes }: Cut): void {
    if ((this.#left.get(log.worker) ?? 0) <= keepBytes) return;
    this.#changed.add(log.worker);
    this.#set(log, keepBytes);
  }

  #set({ worker, agent }: EndedLog, bytes: number): void {
    const change = bytes - (this.#left.get(worker) ?? 0);
    this.#left.set(worker, bytes);
    this.#total += change;
    this.#perAgent.set(agent, (this.#perAgent.get(agent) ?? 0) + change);
  }
}
