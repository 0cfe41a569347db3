/** Keeps one zygote for each agent that is in use and may be forked, and gives its fork to each start of a worker. */
import type { WorkerId } from '../../core/ids.ts';
import { isZygoteId, zygoteId } from '../../core/ids.ts';
import { exitText } from '../../core/model/endings.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Profile } from '../../core/model/profile.ts';
import { welcomeMessage } from '../../core/session/handshake.ts';
import { noteCrash } from '../../core/workers/crash-backoff.ts';
import type { ForkSource, ZygotePool as Pool, Zygote } from '../../core/workers/zygote-rules.ts';
import {
  decideZygotes,
  forkSource,
  isForked,
  isPreforked,
  LATE,
  NO_ZYGOTES,
  TOO_BIG,
  whyCold,
  whyOld,
  zygoteFor,
} from '../../core/workers/zygote-rules.ts';
import { messageOf } from '../../lib/errors.ts';
import { TICK_MS, ZYGOTE } from '../../lib/limits/worker-limits.ts';
import type { SpawnRequest, Workers } from '../../ports/workers.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import { RetiredWorkers } from './retired-workers.ts';
import { sharedEnv, zygoteEnv } from './worker-env.ts';

/** The zygote of one agent, as the capacity shows it. */
export interface ZygoteView {
  readonly agent: string;
  readonly ready: number;
  readonly starting: number;
  /** Why workers of this agent start cold now, or share no process. null: they are forked, or share one. */
  readonly cold: string | null;
  /** Why the renewal of its zygote failed. null: it did not. */
  readonly old: string | null;
}

interface ZygotePoolOptions {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  /** The zygotes of this agent may have changed. */
  readonly changed: (agent: string) => void;
}

export class ZygotePool {
  readonly #deps: SupervisorDeps;
  readonly #workers: Workers;
  readonly #pools = new Map<string, Pool>();
  readonly #agents = new Map<WorkerId, string>();
  readonly #retired: RetiredWorkers;
  readonly #changed: (agent: string) => void;
  readonly #ticks = new Map<string, () => void>();
  /** Agents that had a start, or keep warm workers. */
  readonly #used = new Set<string>();
  #isOpen = false;
  #isClosed = false;

  constructor({ deps, workers, changed }: ZygotePoolOptions) {
    this.#deps = deps;
    this.#changed = changed;
    this.#workers = workers;
    this.#retired = new RetiredWorkers(deps.clock, workers);
  }

  /** Without new sessions (`isOpen` false) no zygote is kept. */
  refresh(isOpen: boolean): void {
    this.#isOpen = isOpen;
    for (const agent of new Set([...this.#deps.agents, ...this.#pools.keys()])) this.#decide(agent);
  }

  /** Each zygote serves until a new one has reached its fork point. An agent that could not be forked is tried again. */
  renew(): void {
    for (const [agent, pool] of this.#pools) {
      this.#pools.set(agent, { ...pool, unfit: null, renewMs: this.#nowMs() });
      this.#decide(agent);
    }
  }

  /** How a worker of this profile starts. The first start of an agent lets its zygote begin. */
  forkOf(profile: Profile): Pick<SpawnRequest, 'fork' | 'forkFailed' | 'shared'> {
    if (!isPreforked(profile)) return {};
    const { agent } = profile;
    if (!this.#used.has(agent)) {
      this.#used.add(agent);
      this.#decide(agent);
    }
    const zygote = zygoteFor(this.#poolOf(agent), profile);
    if (zygote === null) return {};
    if (!isForked(profile)) return { shared: sharedEnv(zygote.id, this.#deps) };
    return {
      fork: (order) => this.#deps.channels.send(zygote.id, order),
      forkFailed: (why) => this.#failed(zygote.id, why),
    };
  }

  sourceOf(profile: Profile): ForkSource {
    return forkSource(this.#poolOf(profile.agent), profile);
  }

  /** Why a worker of this profile starts cold now. null: it is forked, or it need not be. */
  whyCold(profile: Profile): string | null {
    return whyCold(this.#poolOf(profile.agent), profile);
  }

  has(id: WorkerId): boolean {
    return this.#agents.has(id) || this.#retired.has(id);
  }

  /** null: it serves no more, or it is no zygote. */
  profileOf(id: WorkerId): Profile | null {
    return this.#find(id)?.profile ?? null;
  }

  memoryLimit(id: WorkerId): number | null {
    return this.#agents.has(id) ? ZYGOTE.memoryBytes : null;
  }

  hello(id: WorkerId): boolean {
    const found = this.#find(id);
    if (found === null) return false;
    queueMicrotask(() => this.#deps.channels.send(id, welcomeMessage(found.profile, null)));
    return true;
  }

  handle(id: WorkerId, event: SessionEvent): void {
    switch (event.type) {
      case 'exited':
        if (this.#agents.has(id)) this.#died(id, `it ${exitText(event.exit)}`);
        break;
      case 'tree':
        if (this.#retired.tree(id, event.left)) this.#forget(id);
        break;
      case 'resources':
        this.#change(id, { memoryBytes: event.memory.bytes });
        break;
      case 'message':
        if (event.message.type === 'ready') this.#change(id, { state: 'ready' });
        if (event.message.type === 'failed') this.#unfit(id, event.message.message);
        break;
      case 'channel':
        if (!event.open) this.#lostChannel(id);
        break;
      default:
    }
  }

  views(): ZygoteView[] {
    return this.#deps.agents.flatMap((agent) => {
      const profile = this.#deps.profileOf(agent);
      if (profile === null || !isPreforked(profile)) return [];
      const pool = this.#poolOf(agent);
      const count = (state: Zygote['state']) => pool.zygotes.filter((one) => one.state === state).length;
      const cold = this.#used.has(agent) ? whyCold(pool, profile) : 'no worker has been started yet';
      return [
        { agent, ready: count('ready'), starting: count('starting'), cold, old: whyOld(pool, profile) },
      ];
    });
  }

  /** Takes back the zygotes of an earlier supervisor. They connect again, or are retired. Never rejects. */
  async restore(): Promise<void> {
    const { records, log } = this.#deps;
    try {
      const ids = (await records.list()).filter(isZygoteId);
      await Promise.all(ids.map((id) => this.#restoreOne(id)));
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'the search for zygotes of the earlier supervisor failed');
    }
  }

  waitForRetired(untilMs: number): Promise<void> {
    return this.#retired.waitForAll(untilMs);
  }

  /** From now on no zygote is started or retired. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#ticks.values()) cancel();
  }

  async #restoreOne(id: WorkerId): Promise<void> {
    const record = await this.#deps.records.readWarm(id);
    if (record === null || this.has(id)) return;
    const found = await this.#workers.adopt(id, record.process).catch(() => null);
    if (found === null) return;
    if (found.exit !== null || record.isSpent) {
      this.#retired.retire(id, record.profile);
      return;
    }
    this.#used.add(record.profile.agent);
    this.#add(id, record.profile, found.process.shim.startTicks * TICK_MS);
  }

  #decide(agent: string): void {
    if (this.#isClosed) return;
    const { start, retire, nextMs } = decideZygotes(this.#poolOf(agent), this.#wanted(agent), this.#nowMs());
    for (const { id, why } of retire) {
      this.#retire(id);
      if (why === LATE || why === TOO_BIG) this.#crashed(id, agent, why);
    }
    // Because: a crash among them puts the next start off.
    if (retire.length > 0) {
      this.#decide(agent);
      return;
    }
    const profile = start ? this.#wanted(agent) : null;
    if (profile !== null) void this.#start(profile);
    this.#ticks.get(agent)?.();
    this.#ticks.delete(agent);
    if (nextMs !== null)
      this.#ticks.set(
        agent,
        this.#deps.clock.at(Math.max(nextMs, this.#nowMs() + 1), () => this.#decide(agent)),
      );
    // Because: the start of a warm worker may be what asked for this decision.
    queueMicrotask(() => this.#changed(agent));
  }

  #wanted(agent: string): Profile | null {
    const profile = this.#isOpen ? this.#deps.profileOf(agent) : null;
    if (profile === null || !isPreforked(profile)) return null;
    return this.#used.has(agent) || profile.warm > 0 ? profile : null;
  }

  async #start(profile: Profile): Promise<void> {
    const id = zygoteId(this.#deps.newId());
    this.#add(id, profile);
    try {
      const record = { warm: { profile } };
      await this.#workers.spawn({ workerId: id, profile, ...zygoteEnv(id, profile, this.#deps), record });
      if (this.#retired.has(id)) this.#workers.signal(id, 'SIGKILL');
    } catch (error) {
      if (this.#retired.forget(id) || this.#isClosed) return;
      this.#noteDeath(id, messageOf(error));
    }
  }

  #add(id: WorkerId, profile: Profile, sinceMs = this.#nowMs()): void {
    const readyByMs = this.#nowMs() + profile.limits.startTimeoutMs;
    const pool = this.#poolOf(profile.agent);
    this.#agents.set(id, profile.agent);
    const zygote: Zygote = { id, profile, state: 'starting', sinceMs, readyByMs, memoryBytes: null };
    this.#pools.set(profile.agent, { ...pool, zygotes: [...pool.zygotes, zygote] });
  }

  #change(id: WorkerId, change: Partial<Zygote>): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    const pool = this.#poolOf(agent);
    const zygotes = pool.zygotes.map((one) => (one.id === id ? { ...one, ...change } : one));
    this.#pools.set(agent, { ...pool, zygotes });
    this.#decide(agent);
  }

  /** A zygote without a connection gets no order until it has connected again. */
  #lostChannel(id: WorkerId): void {
    const found = this.#find(id);
    // Because: one that connects again and again is not ready, and its bound goes on.
    if (found === null || found.state === 'starting') return;
    const readyByMs = this.#nowMs() + found.profile.limits.startTimeoutMs;
    this.#change(id, { state: 'starting', readyByMs });
  }

  /** The agent cannot be forked. Its zygote says so at its fork point, and no other is started for this profile. */
  #unfit(id: WorkerId, why: string): void {
    const found = this.#find(id);
    const agent = this.#agents.get(id);
    if (found === null || agent === undefined) return;
    const { profile } = found;
    this.#deps.log.warn(
      { worker: id, agent, why },
      isForked(profile)
        ? 'the workers of this agent start cold, because it cannot be forked'
        : 'the workers of this agent share no process',
    );
    this.#pools.set(agent, { ...this.#poolOf(agent), unfit: { profile, why } });
    this.#retire(id);
    this.#decide(agent);
  }

  /** It did not fork in time, so it serves no more. */
  #failed(id: WorkerId, why: string): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#deps.log.warn({ worker: id, agent, why }, 'a zygote forked no worker, so the worker starts cold');
    this.#retire(id);
    this.#crashed(id, agent, why);
    this.#decide(agent);
  }

  #died(id: WorkerId, why: string): void {
    this.#noteDeath(id, why);
    this.#retired.died(id);
  }

  #noteDeath(id: WorkerId, why: string): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#forget(id);
    this.#crashed(id, agent, why);
    this.#decide(agent);
  }

  #afterDeath(agent: string): string {
    const profile = this.#deps.profileOf(agent);
    return profile !== null && zygoteFor(this.#poolOf(agent), profile) !== null
      ? "a new zygote failed; workers are forked from the zygote before, with the agent's code of that time"
      : 'a zygote ended; workers start cold until the next one is ready';
  }

  #crashed(id: WorkerId, agent: string, why: string): void {
    this.#pools.set(agent, noteCrash(this.#poolOf(agent), why, this.#nowMs()));
    this.#deps.log.warn({ worker: id, agent, why }, this.#afterDeath(agent));
  }

  #retire(id: WorkerId): void {
    const profile = this.#find(id)?.profile ?? null;
    // The next supervisor must not take it for a zygote that serves.
    if (profile !== null) this.#workers.record(id, { warm: { profile, retired: true } });
    this.#forget(id);
    this.#retired.retire(id, profile);
  }

  #forget(id: WorkerId): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#agents.delete(id);
    const pool = this.#poolOf(agent);
    this.#pools.set(agent, { ...pool, zygotes: pool.zygotes.filter((one) => one.id !== id) });
  }

  #find(id: WorkerId): Zygote | null {
    const agent = this.#agents.get(id);
    return agent === undefined ? null : (this.#poolOf(agent).zygotes.find((one) => one.id === id) ?? null);
  }

  #poolOf(agent: string): Pool {
    return this.#pools.get(agent) ?? NO_ZYGOTES;
  }

  #nowMs(): number {
    return this.#deps.clock.now().bootMs;
  }
}
