/** The supervisor as HTTP and the command line use it. Every method rejects with CurfewError only. */

import type { CleanupRequest, CleanupView } from '../api/cleanup-api.ts';
import type { CapacityView, ReadyView, ReloadView } from '../api/host-schemas.ts';
import type {
  DispatchRequest,
  ListQuery,
  ReleaseMany,
  SessionList,
  SessionView,
} from '../api/session-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { isUnkillable } from '../core/admission/allocation.ts';
import { sessionId } from '../core/ids.ts';
import type { SessionEvent } from '../core/model/events.ts';
import type { Actor, Session } from '../core/model/session.ts';
import { isEnded, publicState } from '../core/model/session.ts';
import { isTreeGone } from '../core/model/worker.ts';
import { CurfewError } from '../lib/errors.ts';
import { WARM } from '../lib/limits/worker-limits.ts';
import { CleanupRunner } from './cleanup/cleanup-runner.ts';
import { ownSessions } from './cleanup/cleanup-source.ts';
import { DispatchSources } from './dispatch/dispatch-sources.ts';
import { Dispatcher } from './dispatch/dispatcher.ts';
import { Drain } from './drain.ts';
import { makeSessionToken, readSessionToken } from './session-token.ts';
import { rebuildUnknown, recover } from './sessions/recovery.ts';
import type { SessionHost } from './sessions/session-host.ts';
import { untilChanged } from './sessions/wait-until.ts';
import type { SupervisorDeps } from './supervisor-deps.ts';
import { SupervisorParts } from './supervisor-parts.ts';
import { capacityView, readyView } from './views/capacity-view.ts';
import { logPathsOf } from './views/log-paths.ts';
import { isEmptyFilter, listSessions, matchesFilter } from './views/session-list.ts';
import { sessionView } from './views/session-view.ts';

export class Supervisor implements SupervisorApi {
  readonly #deps: SupervisorDeps;
  /** For the tasks that run beside the listeners, and for tests. */
  readonly parts: SupervisorParts;
  readonly #dispatcher: Dispatcher;
  readonly #cleanupRunner: CleanupRunner;
  readonly #drain: Drain;
  readonly #dispatchSources: DispatchSources;
  #accepting = true;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.parts = new SupervisorParts(deps);
    this.#dispatcher = new Dispatcher(this.parts, () => this.#checkAccepting());
    const isAccepting = () => this.#accepting && this.#drain.view === null;
    this.#dispatchSources = new DispatchSources(this.parts, { dispatcher: this.#dispatcher, isAccepting });
    const { table, plans, clock, log, instance, cleanup } = deps;
    const source = ownSessions(this.parts);
    this.#drain = new Drain({
      clock,
      log,
      store: deps.drainStore,
      bootId: instance.bootId,
      open: () => this.#open().length,
    });
    this.#cleanupRunner = new CleanupRunner({
      table,
      plans,
      source,
      clock,
      log,
      bootId: instance.bootId,
      patterns: cleanup.unmanaged,
      graceMs: cleanup.graceMs,
    });
  }

  get sessions(): SessionHost {
    return this.parts.sessions;
  }

  /** Adopts the sessions of an earlier supervisor. Only then it accepts new ones. */
  async start(): Promise<void> {
    const { parts } = this;
    await recover(parts);
    await parts.zygotes.restore();
    await parts.pool.restore((id) => parts.workerIndex.has(id));
    this.sessions.onChange(() => this.#drain.finishIfEmpty());
    this.#drain.restore();
    await parts.start();
    this.#dispatchSources.start();
  }

  /** Called after the start and before the first cleanup, because a database that was not lost explains nearly every worker. */
  async rebuildUnknownSessions(): Promise<void> {
    await rebuildUnknown(this.parts);
  }

  /** Accepts no new session and releases all sessions at the same time. Resolves when all have ended, or at the bound after a last KILL. */
  async stop(boundMs: number, by: Actor): Promise<{ left: number }> {
    this.#refuseNew();
    const startedMs = this.#nowMs();
    const deadlineMs = startedMs + boundMs;
    this.sessions.postAll({ type: 'release', reason: 'shutdown', by, detail: null });
    const killMs = Math.max(0, ...this.#open().map((one) => one.spec.profile.ladder.killMs));
    await this.#until(() => this.#open().length === 0, deadlineMs - killMs);
    for (const worker of this.#openWorkers()) this.parts.workers.signal(worker, 'SIGKILL');
    await this.#until(() => this.#open().length === 0, deadlineMs);
    const retiredMs = Math.max(deadlineMs, startedMs + WARM.termMs + WARM.killMs);
    await this.parts.pool.waitForRetired(retiredMs);
    await this.parts.zygotes.waitForRetired(retiredMs);
    await this.parts.recorder.flush();
    this.#drain.stopped();
    this.#dispatchSources.close();
    this.parts.close();
    return { left: this.#open().length + this.sessions.all().filter(isUnkillable).length };
  }

  #refuseNew(): void {
    this.#accepting = false;
    this.#dispatchSources.acceptingChanged();
  }

  /** Accepts no new session and releases none. Resolves when the last session has ended, or at the bound. */
  async drained(boundMs: number): Promise<void> {
    this.#refuseNew();
    await this.#until(() => this.#open().length === 0, this.#nowMs() + boundMs);
  }

  /** Resolves with the actor of the drain when the drain is over and the supervisor may stop. */
  get drainOver(): Promise<Actor> {
    return this.#drain.over;
  }

  async drain(timeoutMs: number | null, by: Actor): Promise<CapacityView> {
    this.#drain.begin(by, timeoutMs);
    this.#dispatchSources.acceptingChanged();
    return this.capacity();
  }

  async undrain(_by: Actor): Promise<CapacityView> {
    this.#drain.undo();
    this.#dispatchSources.acceptingChanged();
    return this.capacity();
  }

  /** Accepts no new session and leaves every session running. The next start adopts them. */
  async leave(): Promise<void> {
    this.#accepting = false;
    this.#dispatchSources.leave();
    await this.parts.recorder.flush();
    this.#dispatchSources.close();
    this.parts.close();
  }

  async reload(_by: Actor): Promise<ReloadView> {
    const { reload } = this.#deps;
    if (reload === undefined)
      throw new CurfewError('invalid_request', 'this supervisor has no config file to read again');
    const view = await reload();
    this.parts.admission.relimit(this.#deps.limits);
    this.#dispatchSources.reload();
    return view;
  }

  async dispatch(request: DispatchRequest, _by: Actor): Promise<{ session: SessionView; created: boolean }> {
    const { session, created } = await this.#dispatcher.dispatch(request);
    return { session: this.#view(session), created };
  }

  #checkAccepting(): void {
    if (!this.#accepting)
      throw new CurfewError('stopping', 'the supervisor is stopping and accepts no new sessions');
    const draining = this.#drain.view;
    if (draining === null) return;
    const { since, by } = draining;
    throw new CurfewError('draining', `the supervisor has been draining since ${since}, by ${by}`);
  }

  async get(id: string): Promise<SessionView> {
    return this.#view(await this.#find(id));
  }

  async list(query: ListQuery): Promise<SessionList> {
    const { sessions, nextCursor } = await listSessions(this.#deps.registry, this.sessions, query);
    return { sessions: sessions.map((one) => this.#view(one)), nextCursor };
  }

  async release(id: string, by: Actor, detail: string | null): Promise<SessionView> {
    const session = await this.#find(id);
    if (isEnded(session)) {
      this.parts.roomRouter?.watches.unwatch(session.spec.room, session.spec.id);
      return this.#view(session);
    }
    return this.#postAndGet(session, { type: 'release', reason: 'requested', by, detail });
  }

  async releaseMany(request: ReleaseMany, by: Actor): Promise<SessionView[]> {
    const { filter, all, dryRun, detail } = request;
    if (isEmptyFilter(filter) && !all) {
      throw new CurfewError(
        'invalid_request',
        'filter: it is empty; to release every session say "all": true',
        { field: 'filter' },
      );
    }
    const chosen = this.#open().filter((one) => matchesFilter(one, filter));
    if (!dryRun) {
      for (const one of chosen)
        this.sessions.post(one.spec.id, {
          type: 'release',
          reason: 'requested',
          by,
          detail: detail ?? null,
        });
    }
    return chosen.map((one) => this.#view(this.sessions.state(one.spec.id) ?? one));
  }

  async keepAlive(id: string, forMs: number | null, by: Actor): Promise<SessionView> {
    const session = await this.#findOpen(id);
    const time = forMs ?? session.spec.limits.activityIdleTimeoutMs;
    return this.#postAndGet(session, { type: 'keep_alive', forMs: time, by });
  }

  async setMetadata(id: string, metadata: DispatchRequest['metadata'], _by: Actor): Promise<SessionView> {
    return this.#postAndGet(await this.#findOpen(id), { type: 'metadata', metadata });
  }

  async wait(id: string, until: 'live' | 'ended', boundMs: number): Promise<SessionView> {
    const known = await this.#find(id);
    const state = () => publicState(this.sessions.state(known.spec.id) ?? known);
    const reached = () =>
      until === 'live' ? !['queued', 'starting'].includes(state()) : ['released', 'failed'].includes(state());
    if (!isEnded(known))
      await this.#until(
        () => reached() || this.sessions.state(known.spec.id) === null,
        this.#nowMs() + boundMs,
      );
    return this.get(id);
  }

  logPaths(id: string): Promise<string[]> {
    const find = () => this.#find(id);
    return logPathsOf(id, { find, workers: this.parts.workers, records: this.#deps.records });
  }

  async agentMetrics(agent: string): Promise<string> {
    if (this.#deps.profileOf(agent) === null)
      throw new CurfewError('not_found', `there is no agent ${JSON.stringify(agent)} in the config`);
    return this.parts.workers.metricsOf(agent);
  }

  cleanup(request: CleanupRequest, _by: Actor): Promise<CleanupView> {
    return this.#cleanupRunner.run(request);
  }

  capacity(): CapacityView {
    return capacityView(this.parts, { accepting: this.#accepting, draining: this.#drain.view });
  }

  ready(): ReadyView {
    return readyView(this.parts, this.#accepting && this.#drain.view === null);
  }

  async webhook(rawBody: string, authorization: string | undefined): Promise<void> {
    if (this.#deps.rooms === null)
      throw new CurfewError('no_livekit', 'a webhook arrived, but no LiveKit is configured');
    await this.#deps.rooms.webhook(rawBody, authorization);
  }

  async sessionToken(id: string): Promise<string> {
    const session = await this.#find(id);
    return makeSessionToken(this.#deps.instance.masterKey, session.spec.id);
  }

  sessionOfToken(token: string): string | null {
    return readSessionToken(this.#deps.instance.masterKey, token);
  }

  /** Waits until the event is handled, so that the answer shows its result. Another event of the session may be recorded first. */
  async #postAndGet({ spec }: Session, event: SessionEvent): Promise<SessionView> {
    this.sessions.post(spec.id, event);
    await this.sessions.idle(spec.id);
    return this.get(spec.id);
  }

  #view(session: Session): SessionView {
    return sessionView(session, this.#deps.clock.now(), this.#deps.host);
  }

  #open(): Session[] {
    return this.sessions.all().filter((one) => !isEnded(one));
  }

  #openWorkers() {
    return this.#open().flatMap(({ phase }) =>
      phase.name === 'closing' && phase.worker !== null && !isTreeGone(phase.worker) ? [phase.worker.id] : [],
    );
  }

  async #find(id: string): Promise<Session> {
    await this.#dispatcher.settled(id);
    const known = this.sessions.state(sessionId(id)) ?? (await this.#deps.registry.get(sessionId(id)));
    if (known === null) throw new CurfewError('not_found', `there is no session "${id}"`);
    return known;
  }

  async #findOpen(id: string): Promise<Session> {
    const session = await this.#find(id);
    if (isEnded(session)) throw new CurfewError('already_ended', `session "${id}" has ended`);
    return session;
  }

  #until(reached: () => boolean, deadlineMs: number): Promise<void> {
    return untilChanged(this.parts, { reached, deadlineMs });
  }

  #nowMs(): number {
    return this.#deps.clock.now().bootMs;
  }
}
