/** The warm workers, by agent. */
import type { SessionId, WorkerId } from '../../core/ids.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { WorkerProcess } from '../../core/model/worker.ts';
import type { Pool, WarmWorker } from '../../core/workers/warm-pool-rules.ts';
import { EMPTY_POOL, withoutWarm, withWarm } from '../../core/workers/warm-pool-rules.ts';
import type { WarmView } from './warm-handoff.ts';

export class WarmTable {
  readonly #pools = new Map<string, Pool>();
  readonly #agents = new Map<WorkerId, string>();
  readonly #processes = new Map<WorkerId, WorkerProcess>();
  readonly #reservations = new Map<WorkerId, SessionId>();

  /** The agents that have, or had, a warm worker. */
  get agents(): string[] {
    return [...this.#pools.keys()];
  }

  poolOf(agent: string): Pool {
    return this.#pools.get(agent) ?? EMPTY_POOL;
  }

  set(agent: string, pool: Pool): void {
    this.#pools.set(agent, pool);
  }

  agentOf(id: WorkerId): string | null {
    return this.#agents.get(id) ?? null;
  }

  processOf(id: WorkerId): WorkerProcess | null {
    return this.#processes.get(id) ?? null;
  }

  find(id: WorkerId): WarmWorker | null {
    const agent = this.agentOf(id);
    return agent === null ? null : (this.poolOf(agent).workers.find((one) => one.id === id) ?? null);
  }

  add(profile: Profile, id: WorkerId, more: Pick<WarmWorker, 'sinceMs' | 'readyByMs' | 'zygote'>): void {
    const pool = this.poolOf(profile.agent);
    this.#agents.set(id, profile.agent);
    const worker: WarmWorker = { id, profile, state: 'starting', memoryBytes: null, ...more };
    this.set(profile.agent, { ...pool, workers: [...pool.workers, worker] });
  }

  setProcess(id: WorkerId, process: WorkerProcess): void {
    if (this.#agents.has(id)) this.#processes.set(id, process);
  }

  /** The session that the worker is reserved for; null: none. */
  reservedFor(id: WorkerId): SessionId | null {
    return this.#reservations.get(id) ?? null;
  }

  reserve(id: WorkerId, session: SessionId): void {
    this.#reservations.set(id, session);
    this.change(id, { state: 'reserved' });
  }

  release(id: WorkerId): void {
    this.#reservations.delete(id);
    this.change(id, { state: 'ready' });
  }

  change(id: WorkerId, change: Partial<WarmWorker>): void {
    const agent = this.agentOf(id);
    if (agent !== null) this.set(agent, withWarm(this.poolOf(agent), id, change));
  }

  forget(id: WorkerId): void {
    const agent = this.agentOf(id);
    this.#agents.delete(id);
    this.#processes.delete(id);
    this.#reservations.delete(id);
    if (agent !== null) this.set(agent, withoutWarm(this.poolOf(agent), id));
  }

  /** null: the agent has no warm worker and wants none. */
  view(agent: string, wanted: number): WarmView | null {
    const { workers, crashes, lastCrash, notBeforeMs } = this.poolOf(agent);
    if (wanted === 0 && workers.length === 0) return null;
    const count = (state: WarmWorker['state']) => workers.filter((one) => one.state === state).length;
    return {
      agent,
      wanted,
      ready: count('ready'),
      starting: count('starting'),
      crashes,
      lastCrash,
      notBeforeMs,
    };
  }
}
