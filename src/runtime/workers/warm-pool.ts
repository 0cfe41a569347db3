/** Keeps warm workers started and connected, gives them to sessions, and refills the pool outside the path of a call. */

import type { SessionId, WorkerId } from '../../core/ids.ts';
import { isWarmId, warmWorkerId } from '../../core/ids.ts';
import { exitText } from '../../core/model/endings.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Profile } from '../../core/model/profile.ts';
import type { Warm } from '../../core/model/session.ts';
import { welcomeMessage } from '../../core/session/handshake.ts';
import { noteCrash } from '../../core/workers/crash-backoff.ts';
import type { WarmWorker } from '../../core/workers/warm-pool-rules.ts';
import { decidePool, findReady, LATE, warmLimitBytes } from '../../core/workers/warm-pool-rules.ts';
import type { ForkSource } from '../../core/workers/zygote-rules.ts';
import { isForked } from '../../core/workers/zygote-rules.ts';
import { messageOf } from '../../lib/errors.ts';
import { WARM } from '../../lib/limits/worker-limits.ts';
import type { Workers } from '../../ports/workers.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { ChannelRouter } from './channel-router.ts';
import { RetiredWorkers } from './retired-workers.ts';
import type { WarmView } from './warm-handoff.ts';
import { WarmTable } from './warm-table.ts';
import type { Forks } from './worker-env.ts';
import { warmEnv } from './worker-env.ts';

interface WarmForks extends Forks {
  sourceOf(profile: Profile): ForkSource;
  /** null: workers of this profile are forked, or need not be. */
  whyCold(profile: Profile): string | null;
}

export interface WarmPoolOptions {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly channels: ChannelRouter;
  readonly zygotes: WarmForks;
}

export class WarmPool {
  readonly #options: WarmPoolOptions;
  readonly #table = new WarmTable();
  /** Their deaths do not count as crashes. */
  readonly #retired: RetiredWorkers;
  readonly #ticks = new Map<string, () => void>();
  /** Why the latest warm workers started cold, by agent. */
  readonly #toldCold = new Map<string, string>();
  /** Whether the supervisor accepts new sessions. */
  #isOpen = false;
  #isClosed = false;

  constructor(options: WarmPoolOptions) {
    this.#options = options;
    this.#retired = new RetiredWorkers(options.deps.clock, options.workers);
  }

  /** Fills the pool to the config's size. Without new sessions (`isOpen` false) it retires every warm worker. */
  refresh(isOpen: boolean): void {
    this.#isOpen = isOpen;
    const { agents } = this.#options.deps;
    for (const agent of new Set([...agents, ...this.#table.agents])) this.#decide(agent);
  }

  /** The zygotes of this agent may have changed. */
  zygotesChanged(agent: string): void {
    if (this.#table.agents.includes(agent) || (this.#options.deps.profileOf(agent)?.warm ?? 0) > 0)
      this.#decide(agent);
  }

  /** Reserves a ready worker of this profile for the session; null: none is ready. */
  take(profile: Profile, session: SessionId): Warm | null {
    const source = this.#options.zygotes.sourceOf(profile);
    const found = profile.warm === 0 ? null : findReady(this.#table.poolOf(profile.agent), profile, source);
    const process = found === null ? null : this.#table.processOf(found.id);
    if (found === null || process === null) return null;
    this.#table.reserve(found.id, session);
    return { id: found.id, process };
  }

  /** The worker belongs to its session now. Returns false if the worker has lost its connection. */
  handOver(id: WorkerId): boolean {
    const agent = this.#table.agentOf(id);
    if (agent === null) return true;
    const isLost = this.#table.find(id)?.isLost === true;
    this.#table.forget(id);
    // The refill waits until the call has its worker, because a spawn blocks the event loop for milliseconds.
    const { clock } = this.#options.deps;
    clock.at(clock.now().bootMs + WARM.refillAfterMs, () => this.#decide(agent));
    return !isLost;
  }

  /** Whether the worker is in the pool and reserved for this session. */
  isReservedFor(id: WorkerId, session: SessionId): boolean {
    return this.#table.reservedFor(id) === session;
  }

  /** The session does not need the worker. A worker that is reserved for another session stays reserved. */
  giveBack(id: WorkerId, session: SessionId): void {
    const found = this.#table.find(id);
    if (found === null || !this.isReservedFor(id, session)) return;
    this.#options.channels.withdraw(id);
    this.#table.release(id);
    if (found.isLost === true) this.#awaitConnection(found);
    this.#decide(found.profile.agent);
  }

  has(id: WorkerId): boolean {
    return this.#table.agentOf(id) !== null || this.#retired.has(id);
  }

  profileOf(id: WorkerId): Profile | null {
    return this.#table.find(id)?.profile ?? null;
  }

  /** The size at which the pool replaces the worker. null: no limit, or the pool does not have the worker. */
  memoryLimit(id: WorkerId): number | null {
    const profile = this.profileOf(id);
    return profile === null ? null : warmLimitBytes(profile);
  }

  /** Handles an event of a worker that is in the pool, reserved or not. */
  handle(id: WorkerId, event: SessionEvent): void {
    switch (event.type) {
      case 'exited':
        this.#exited(id, exitText(event.exit));
        break;
      case 'tree':
        this.#tree(id, event.left);
        break;
      case 'resources':
        this.#table.change(id, { memoryBytes: event.memory.bytes });
        break;
      case 'message':
        if (event.message.type === 'ready') this.#markReady(id);
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
    queueMicrotask(() => {
      this.#options.channels.send(id, welcomeMessage(found.profile, null));
      // A LiveKit agent is ready when it has registered. Other workers send `ready`.
      if (found.profile.protocol === 'livekit') this.#markReady(id);
    });
    return true;
  }

  #lostChannel(id: WorkerId): void {
    const found = this.#table.find(id);
    if (found === null) return;
    if (found.state === 'reserved') this.#table.change(id, { isLost: true });
    else this.#awaitConnection(found);
  }

  /** A worker without a connection is given to no session until it has connected again. */
  #awaitConnection({ id, profile }: WarmWorker): void {
    const readyByMs = this.#nowMs() + profile.limits.startTimeoutMs;
    this.#table.change(id, { state: 'starting', isLost: false, readyByMs });
  }

  #exited(id: WorkerId, how: string): void {
    const agent = this.#table.agentOf(id);
    if (agent === null) return;
    this.#noteDeath(agent, id, `${id} ${how} before it had a call`);
    this.#retired.died(id);
  }

  #tree(id: WorkerId, left: number): void {
    if (!this.#retired.tree(id, left)) return;
    this.#table.forget(id);
    this.#options.channels.forget(id);
  }

  views(): WarmView[] {
    const { agents, profileOf } = this.#options.deps;
    return agents.flatMap((agent) => this.#table.view(agent, profileOf(agent)?.warm ?? 0) ?? []);
  }

  /** Takes back the warm workers of an earlier supervisor that no session has. They connect again, or are retired. Never rejects. */
  async restore(isOwned: (id: WorkerId) => boolean): Promise<void> {
    const { records, log } = this.#options.deps;
    try {
      const ids = (await records.list()).filter((id) => isWarmId(id) && !isOwned(id));
      await Promise.all(ids.map((id) => this.#restoreOne(id)));
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'the search for warm workers of the earlier supervisor failed');
    }
  }

  /** Resolves when the trees of all retired workers are gone, or at the bound. */
  waitForRetired(untilMs: number): Promise<void> {
    return this.#retired.waitForAll(untilMs);
  }

  /** From now on the pool starts and retires no worker. */
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
      this.#retired.retire(id, record.profile);
      return;
    }
    const nowMs = clock.now().bootMs;
    this.#table.add(record.profile, id, {
      sinceMs: nowMs,
      readyByMs: nowMs + record.profile.limits.startTimeoutMs,
      ...(record.zygote !== undefined && { zygote: record.zygote }),
    });
    this.#table.setProcess(id, found.process);
  }

  #decide(agent: string): void {
    if (this.#isClosed) return;
    const { deps, zygotes } = this.#options;
    const profile = this.#isOpen ? deps.profileOf(agent) : null;
    const source = profile === null ? undefined : zygotes.sourceOf(profile);
    const { start, retire, nextMs } = decidePool(this.#table.poolOf(agent), profile, this.#nowMs(), source);
    for (const { id, why } of retire) {
      if (why === LATE) this.#crashed(agent, id, why);
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
    const { deps, workers, zygotes } = this.#options;
    const id = warmWorkerId(deps.newId());
    const nowMs = this.#nowMs();
    const zygote = zygotes.sourceOf(profile).serving;
    const from = zygote === null ? {} : { zygote };
    const readyByMs = nowMs + profile.limits.startTimeoutMs;
    this.#table.add(profile, id, { sinceMs: nowMs, readyByMs, ...from });
    this.#tellCold(profile);
    try {
      const env = warmEnv(id, profile, deps);
      const record = { warm: { profile, ...from } };
      const process = await workers.spawn({
        workerId: id,
        profile,
        ...env,
        ...zygotes.forkOf(profile),
        record,
      });
      this.#table.setProcess(id, process);
      if (this.#retired.has(id)) workers.signal(id, 'SIGKILL');
      // Race: the worker may have connected before its process was known here.
      this.#decide(profile.agent);
    } catch (error) {
      // The worker was retired before it started.
      if (this.#retired.forget(id) || this.#isClosed) return;
      this.#noteDeath(profile.agent, id, messageOf(error));
    }
  }

  /** One line for each reason, until workers are forked again. */
  #tellCold(profile: Profile): void {
    const { agent } = profile;
    const why = this.#options.zygotes.whyCold(profile);
    const before = this.#toldCold.get(agent);
    if (why === null) this.#toldCold.delete(agent);
    else this.#toldCold.set(agent, why);
    if (why !== null && why !== before)
      this.#options.deps.log.info(
        { agent, why },
        isForked(profile)
          ? 'the warm workers of this agent start cold'
          : 'the warm workers of this agent share no process',
      );
  }

  #markReady(id: WorkerId): void {
    this.#table.change(id, { isLost: false });
    if (this.#table.find(id)?.state !== 'starting') return;
    this.#table.change(id, { state: 'ready' });
    const agent = this.#table.agentOf(id);
    if (agent !== null) this.#decide(agent);
  }

  #noteDeath(agent: string, id: WorkerId, why: string): void {
    this.#table.forget(id);
    this.#crashed(agent, id, why);
    this.#decide(agent);
  }

  #crashed(agent: string, id: WorkerId, why: string): void {
    this.#table.set(agent, noteCrash(this.#table.poolOf(agent), why, this.#nowMs()));
    this.#options.deps.log.warn({ worker: id, agent, why }, 'a warm worker died before it had a call');
  }

  #retire(id: WorkerId): void {
    const { workers } = this.#options;
    const profile = this.#table.find(id)?.profile ?? null;
    // The next supervisor must not take this worker for a ready one.
    if (profile !== null) workers.record(id, { warm: { profile, retired: true } });
    this.#table.forget(id);
    this.#retired.retire(id, profile);
  }

  #nowMs(): number {
    return this.#options.deps.clock.now().bootMs;
  }
}
