/** Keeps warm workers started and connected, hands them out, and refills outside the path of a call. */

import type { SessionId, WorkerId } from '../../core/ids.ts';
import { isWarmId, warmWorkerId } from '../../core/ids.ts';
import { PROTOCOL_VERSION } from '../../core/model/control-protocol.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Profile } from '../../core/model/profile.ts';
import { exitText } from '../../core/session/endings.ts';
import { decidePool, findReady, LATE, noteCrash } from '../../core/workers/warm-pool-rules.ts';
import { messageOf } from '../../lib/errors.ts';
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { Workers } from '../../ports/workers.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { ChannelRouter } from './channel-router.ts';
import type { Warm, WarmView } from './warm-handoff.ts';
import { WarmTable } from './warm-table.ts';
import { warmEnv } from './worker-env.ts';

export interface WarmPoolOptions {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly channels: ChannelRouter;
}

export class WarmPool {
  readonly #options: WarmPoolOptions;
  readonly #table = new WarmTable();
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
    for (const agent of new Set([...agents, ...this.#table.agents])) this.#decide(agent);
  }

  /** A ready one for this profile, kept for the session; null: there is none. */
  take(profile: Profile, session: SessionId): Warm | null {
    const found = profile.warm === 0 ? null : findReady(this.#table.poolOf(profile.agent), profile);
    const process = found === null ? null : this.#table.processOf(found.id);
    if (found === null || process === null) return null;
    this.#table.keep(found.id, session);
    return { id: found.id, process };
  }

  /** It belongs to a session now. */
  given(id: WorkerId): void {
    const agent = this.#table.agentOf(id);
    if (agent === null) return;
    this.#table.forget(id);
    // Not on the path of this call: a spawn holds the loop for milliseconds.
    const { clock } = this.#options.deps;
    clock.at(clock.now().bootMs + WARM.refillAfterMs, () => this.#decide(agent));
  }

  /** Whether it is there and kept for this session. */
  keeps(id: WorkerId, session: SessionId): boolean {
    return this.#table.keeperOf(id) === session;
  }

  /** The session does not want it; nobody else's is touched. */
  giveBack(id: WorkerId, session: SessionId): void {
    const agent = this.#table.agentOf(id);
    if (agent === null || !this.keeps(id, session)) return;
    this.#table.release(id);
    this.#decide(agent);
  }

  has(id: WorkerId): boolean {
    return this.#table.agentOf(id) !== null || this.#retired.has(id);
  }

  profileOf(id: WorkerId): Profile | null {
    return this.#table.find(id)?.profile ?? null;
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
        this.#table.change(id, { rssBytes: event.rssBytes });
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
    const found = this.#table.find(id);
    if (found === null) return false;
    const welcome = {
      type: 'welcome',
      v: PROTOCOL_VERSION,
      heartbeatMs: DEADLINES.heartbeatEveryMs,
      job: null,
    } as const;
    queueMicrotask(() => {
      this.#options.channels.tell(id, welcome);
      // A LiveKit agent that has registered is ready; others say so.
      if (found.profile.protocol === 'livekit') this.#ready(id);
    });
    return true;
  }

  /** One that has lost its connection is not handed out until it is back. */
  #lostChannel(id: WorkerId): void {
    const found = this.#table.find(id);
    if (found === null || found.state === 'reserved') return;
    this.#table.change(id, {
      state: 'starting',
      readyByMs: this.#nowMs() + found.profile.limits.startTimeoutMs,
    });
  }

  #exited(id: WorkerId, how: string): void {
    const agent = this.#table.agentOf(id);
    if (agent === null) return;
    this.#died(agent, id, `${id} ${how} before it had a call`);
    // Until what it left is gone.
    this.#retired.add(id);
    this.#options.workers.reap(id);
  }

  #tree(id: WorkerId, left: number): void {
    const { workers, channels } = this.#options;
    if (left > 0) {
      workers.signal(id, 'SIGKILL');
      return;
    }
    this.#retired.delete(id);
    this.#table.forget(id);
    workers.forget(id);
    channels.forget(id);
  }

  views(): WarmView[] {
    const { agents, profileOf } = this.#options.deps;
    return agents.flatMap((agent) => this.#table.view(agent, profileOf(agent)?.warm ?? 0) ?? []);
  }

  /** Warm workers of a supervisor before this one that no session has: they connect again, or are let go. Never rejects. */
  async restore(isOwned: (id: WorkerId) => boolean): Promise<void> {
    const { records, log } = this.#options.deps;
    try {
      const ids = (await records.list()).filter((id) => isWarmId(id) && !isOwned(id));
      await Promise.all(ids.map((id) => this.#restoreOne(id)));
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'warm workers of before could not be looked for');
    }
  }

  /** Resolves when nobody is left whom it has let go, or at the bound. */
  async emptied(untilMs: number): Promise<void> {
    const { clock } = this.#options.deps;
    while (this.#retired.size > 0 && this.#nowMs() < untilMs)
      await new Promise<void>((resolve) => clock.at(this.#nowMs() + WARM.checkMs, resolve));
  }

  /** Starts and ends nobody any more. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#ticks.values()) cancel();
  }

  async #restoreOne(id: WorkerId): Promise<void> {
    const { records, clock } = this.#options.deps;
    const record = await records.readWarm(id);
    if (record === null || this.#table.agentOf(id) !== null) return;
    const found = await this.#options.workers.adopt(id, record.process).catch(() => null);
    if (found === null) return;
    if (found.exit !== null || record.isSpent) {
      this.#retire(id);
      return;
    }
    const nowMs = clock.now().bootMs;
    this.#table.add(record.profile, id, {
      sinceMs: nowMs,
      readyByMs: nowMs + record.profile.limits.startTimeoutMs,
    });
    this.#table.runs(id, found.process);
  }

  #decide(agent: string): void {
    if (this.#isClosed) return;
    const { deps } = this.#options;
    const profile = this.#isOpen ? deps.profileOf(agent) : null;
    const { start, retire, nextMs } = decidePool(this.#table.poolOf(agent), profile, this.#nowMs());
    for (const { id, why } of retire) {
      if (why === LATE) this.#table.set(agent, noteCrash(this.#table.poolOf(agent), why, this.#nowMs()));
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
    this.#table.add(profile, id, { sinceMs: nowMs, readyByMs: nowMs + profile.limits.startTimeoutMs });
    try {
      const env = warmEnv(id, profile, deps);
      const process = await workers.spawn({ workerId: id, profile, env, record: { warm: { profile } } });
      this.#table.runs(id, process);
      if (this.#retired.has(id)) workers.signal(id, 'SIGKILL');
      // It may have connected before its process was known here.
      this.#decide(profile.agent);
    } catch (error) {
      // Let go before its turn to start came.
      if (this.#retired.delete(id) || this.#isClosed) return;
      this.#died(profile.agent, id, messageOf(error));
    }
  }

  #ready(id: WorkerId): void {
    if (this.#table.find(id)?.state !== 'starting') return;
    this.#table.change(id, { state: 'ready' });
    const agent = this.#table.agentOf(id);
    if (agent !== null) this.#decide(agent);
  }

  #died(agent: string, id: WorkerId, why: string): void {
    this.#table.forget(id);
    this.#table.set(agent, noteCrash(this.#table.poolOf(agent), why, this.#nowMs()));
    this.#options.deps.log.warn({ worker: id, agent, why }, 'a warm worker died before it had a call');
    this.#decide(agent);
  }

  #retire(id: WorkerId): void {
    const { workers, deps } = this.#options;
    const profile = this.#table.find(id)?.profile ?? null;
    // A start after this one must not take it for one that is ready.
    if (profile !== null) workers.record(id, { warm: { profile, retired: true } });
    this.#table.forget(id);
    this.#retired.add(id);
    workers.signal(id, 'SIGTERM');
    deps.clock.at(this.#nowMs() + WARM.termMs, () => {
      if (this.#retired.has(id)) workers.signal(id, 'SIGKILL');
    });
  }

  #nowMs(): number {
    return this.#options.deps.clock.now().bootMs;
  }
}
