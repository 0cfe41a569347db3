/** Keeps warm workers started and connected, hands them out, and refills outside the path of a call. */
import { exitText } from '../core/endings.ts';
import type { SessionEvent } from '../core/event.ts';
import type { WorkerId } from '../core/ids.ts';
import { isWarmId, warmWorkerId } from '../core/ids.ts';
import type { Pool, WarmWorker } from '../core/pool.ts';
import { decidePool, EMPTY_POOL, findReady, LATE, noteCrash, withoutWarm, withWarm } from '../core/pool.ts';
import type { Profile } from '../core/profile.ts';
import { PROTOCOL_VERSION } from '../core/protocol.ts';
import type { WorkerProcess } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import { DEADLINES, WARM } from '../limits.ts';
import type { Workers } from '../ports.ts';
import type { SupervisorDeps } from './deps.ts';
import { warmEnv } from './launch.ts';
import type { Lines } from './lines.ts';
import type { Warm, WarmView } from './warm.ts';

export interface WarmPoolOptions {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly lines: Lines;
}

export class WarmPool {
  readonly #options: WarmPoolOptions;
  readonly #pools = new Map<string, Pool>();
  readonly #agents = new Map<WorkerId, string>();
  readonly #processes = new Map<WorkerId, WorkerProcess>();
  /** Let go: their deaths are nobody's crash. */
  readonly #retired = new Set<WorkerId>();
  readonly #ticks = new Map<string, () => void>();
  /** Whether new calls are taken. */
  #isOpen = false;
  #isClosed = false;

  constructor(options: WarmPoolOptions) {
    this.#options = options;
  }

  /** Fills up by the config as it is now, or lets all go where nothing new is taken. */
  refresh(isOpen: boolean): void {
    this.#isOpen = isOpen;
    const { agents } = this.#options.deps;
    for (const agent of new Set([...agents, ...this.#pools.keys()])) this.#decide(agent);
  }

  /** A ready one for this profile, kept for the caller; null: there is none. */
  take(profile: Profile): Warm | null {
    const pool = this.#poolOf(profile.agent);
    const found = profile.warm === 0 ? null : findReady(pool, profile);
    const process = found === null ? undefined : this.#processes.get(found.id);
    if (found === null || process === undefined) return null;
    this.#set(profile.agent, withWarm(pool, found.id, { state: 'reserved' }));
    return { id: found.id, process };
  }

  /** It belongs to a session now. */
  given(id: WorkerId): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#forget(id);
    // Not on the path of this call: a spawn holds the loop for milliseconds.
    const { clock } = this.#options.deps;
    clock.at(clock.now().bootMs + WARM.refillAfterMs, () => this.#decide(agent));
  }

  /** The session that it was kept for does not want it. */
  giveBack(id: WorkerId): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#set(agent, withWarm(this.#poolOf(agent), id, { state: 'ready' }));
    this.#decide(agent);
  }

  has(id: WorkerId): boolean {
    return this.#agents.has(id) || this.#retired.has(id);
  }

  profileOf(id: WorkerId): Profile | null {
    return this.#find(id)?.profile ?? null;
  }

  /** News of a worker that is no session's, or is kept for one. */
  tell(id: WorkerId, event: SessionEvent): void {
    switch (event.type) {
      case 'exited':
        this.#exited(id, exitText(event.exit));
        break;
      case 'tree':
        this.#tree(id, event.left);
        break;
      case 'resources':
        this.#change(id, { rssBytes: event.rssBytes });
        break;
      case 'message':
        if (event.message.type === 'ready') this.#ready(id);
        break;
      case 'channel':
        if (!event.open) this.#lostChannel(id);
        break;
      default:
    }
  }

  hello(id: WorkerId): boolean {
    const found = this.#find(id);
    if (found === null) return false;
    const welcome = {
      type: 'welcome',
      v: PROTOCOL_VERSION,
      heartbeatMs: DEADLINES.heartbeatEveryMs,
      job: null,
    } as const;
    queueMicrotask(() => {
      this.#options.lines.tell(id, welcome);
      // A LiveKit agent that has registered is ready; others say so.
      if (found.profile.protocol === 'livekit') this.#ready(id);
    });
    return true;
  }

  /** One that has lost its connection is not handed out until it is back. */
  #lostChannel(id: WorkerId): void {
    const found = this.#find(id);
    if (found === null || found.state === 'reserved') return;
    this.#change(id, {
      state: 'starting',
      readyByMs: this.#nowMs() + found.profile.limits.startTimeoutMs,
    });
  }

  #exited(id: WorkerId, how: string): void {
    const agent = this.#agents.get(id);
    if (agent === undefined) return;
    this.#died(agent, id, `${id} ${how} before it had a call`);
    this.#retired.add(id); // Until what it left is gone.
    this.#options.workers.reap(id);
  }

  #tree(id: WorkerId, left: number): void {
    const { workers, lines } = this.#options;
    if (left > 0) {
      workers.signal(id, 'SIGKILL');
      return;
    }
    this.#retired.delete(id);
    this.#forget(id);
    workers.forget(id);
    lines.forget(id);
  }

  views(): WarmView[] {
    const { agents, profileOf } = this.#options.deps;
    return agents.flatMap((agent) => {
      const wanted = profileOf(agent)?.warm ?? 0;
      const { workers, crashes, lastCrash, notBeforeMs } = this.#poolOf(agent);
      if (wanted === 0 && workers.length === 0) return [];
      const count = (state: WarmWorker['state']) => workers.filter((one) => one.state === state).length;
      return [
        {
          agent,
          wanted,
          ready: count('ready'),
          starting: count('starting'),
          crashes,
          lastCrash,
          notBeforeMs,
        },
      ];
    });
  }

  /** Warm workers of a supervisor before this one: they connect again, or are let go. Never rejects. */
  async restore(): Promise<void> {
    const { records, log } = this.#options.deps;
    try {
      const ids = (await records.list()).filter(isWarmId);
      await Promise.all(ids.map((id) => this.#restoreOne(id)));
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'warm workers of before could not be looked for');
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#ticks.values()) cancel();
  }

  async #restoreOne(id: WorkerId): Promise<void> {
    const { records, clock } = this.#options.deps;
    const record = await records.readWarm(id);
    if (record === null || this.#agents.has(id)) return;
    const found = await this.#options.workers.adopt(id, record.process).catch(() => null);
    if (found === null || found.exit !== null) return;
    const nowMs = clock.now().bootMs;
    this.#add(record.profile, id, {
      sinceMs: nowMs,
      readyByMs: nowMs + record.profile.limits.startTimeoutMs,
    });
    this.#processes.set(id, found.process);
  }

  #decide(agent: string): void {
    if (this.#isClosed) return;
    const { deps } = this.#options;
    const profile = this.#isOpen ? deps.profileOf(agent) : null;
    const { start, retire, nextMs } = decidePool(this.#poolOf(agent), profile, this.#nowMs());
    for (const { id, why } of retire) {
      if (why === LATE) this.#set(agent, noteCrash(this.#poolOf(agent), why, this.#nowMs()));
      this.#retire(id);
    }
    if (profile !== null) for (let count = 0; count < start; count++) void this.#start(profile);
    this.#ticks.get(agent)?.();
    this.#ticks.delete(agent);
    if (nextMs !== null)
      this.#ticks.set(
        agent,
        deps.clock.at(Math.max(nextMs, this.#nowMs() + 1), () => this.#decide(agent)),
      );
  }

  async #start(profile: Profile): Promise<void> {
    const { deps, workers } = this.#options;
    const id = warmWorkerId(deps.newId());
    const nowMs = this.#nowMs();
    this.#add(profile, id, { sinceMs: nowMs, readyByMs: nowMs + profile.limits.startTimeoutMs });
    try {
      const env = warmEnv(id, profile, deps);
      const process = await workers.spawn({ workerId: id, profile, env, record: { warm: { profile } } });
      this.#processes.set(id, process);
      if (this.#retired.has(id)) workers.signal(id, 'SIGKILL');
      // It may have connected before its process was known here.
      this.#decide(profile.agent);
    } catch (error) {
      this.#retired.delete(id);
      this.#died(profile.agent, id, messageOf(error));
    }
  }

  #ready(id: WorkerId): void {
    if (this.#find(id)?.state !== 'starting') return;
    this.#change(id, { state: 'ready' });
    const agent = this.#agents.get(id);
    if (agent !== undefined) this.#decide(agent);
  }

  #died(agent: string, id: WorkerId, why: string): void {
    this.#forget(id);
    this.#set(agent, noteCrash(this.#poolOf(agent), why, this.#nowMs()));
    this.#options.deps.log.warn({ worker: id, agent, why }, 'a warm worker died before it had a call');
    this.#decide(agent);
  }

  #retire(id: WorkerId): void {
    const { workers, deps } = this.#options;
    this.#forget(id);
    this.#retired.add(id);
    workers.signal(id, 'SIGTERM');
    deps.clock.at(this.#nowMs() + WARM.termMs, () => {
      if (this.#retired.has(id)) workers.signal(id, 'SIGKILL');
    });
  }

  #add(profile: Profile, id: WorkerId, times: Pick<WarmWorker, 'sinceMs' | 'readyByMs'>): void {
    const pool = this.#poolOf(profile.agent);
    this.#agents.set(id, profile.agent);
    const worker: WarmWorker = { id, profile, state: 'starting', rssBytes: null, ...times };
    this.#set(profile.agent, { ...pool, workers: [...pool.workers, worker] });
  }

  #change(id: WorkerId, change: Partial<WarmWorker>): void {
    const agent = this.#agents.get(id);
    if (agent !== undefined) this.#set(agent, withWarm(this.#poolOf(agent), id, change));
  }

  #forget(id: WorkerId): void {
    const agent = this.#agents.get(id);
    this.#agents.delete(id);
    this.#processes.delete(id);
    if (agent !== undefined) this.#set(agent, withoutWarm(this.#poolOf(agent), id));
  }

  #find(id: WorkerId): WarmWorker | null {
    const agent = this.#agents.get(id);
    return agent === undefined ? null : (this.#poolOf(agent).workers.find((one) => one.id === id) ?? null);
  }

  #poolOf(agent: string): Pool {
    return this.#pools.get(agent) ?? EMPTY_POOL;
  }

  #set(agent: string, pool: Pool): void {
    this.#pools.set(agent, pool);
  }

  #nowMs(): number {
    return this.#options.deps.clock.now().bootMs;
  }
}
