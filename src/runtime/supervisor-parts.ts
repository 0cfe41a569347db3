/** Puts the parts of a supervisor together, and routes each external event to its session or warm worker. */
import type { Grant } from '../core/admission/admission.ts';
import type { SessionId, WorkerId } from '../core/ids.ts';
import { firstWorkerId, roomId } from '../core/ids.ts';
import type { AgentAnswer } from '../core/model/agent-answer.ts';
import type { SessionEvent } from '../core/model/events.ts';
import type { Session } from '../core/model/session.ts';
import { isEnded, isIn, workerOf } from '../core/model/session.ts';
import { rejoinWatch } from '../core/teardown/rejoin-rule.ts';
import { messageOf } from '../lib/errors.ts';
import type { DatabaseLoss } from '../ports/registry.ts';
import type { Workers } from '../ports/workers.ts';
import { AdmissionGate } from './dispatch/admission-gate.ts';
import { watchLoad } from './dispatch/load-watch.ts';
import { RoomRouter } from './rooms/room-router.ts';
import { RoomTokens } from './rooms/room-tokens.ts';
import { DeadlineTimers } from './sessions/deadline-timers.ts';
import { EffectRunner } from './sessions/effect-runner.ts';
import { GapDetector } from './sessions/gap-detector.ts';
import { Recorder } from './sessions/recorder.ts';
import { SessionHost } from './sessions/session-host.ts';
import { TransitionRunner } from './sessions/transition-runner.ts';
import { WorkerIndex } from './sessions/worker-index.ts';
import type { SupervisorDeps } from './supervisor-deps.ts';
import { AgentAnswers } from './workers/agent-answers.ts';
import { ChannelRouter } from './workers/channel-router.ts';
import { grantWarm } from './workers/warm-handoff.ts';
import { WarmPool } from './workers/warm-pool.ts';
import { ZygotePool } from './workers/zygote-pool.ts';

export class SupervisorParts {
  readonly deps: SupervisorDeps;
  readonly sessions: SessionHost;
  readonly transitions: TransitionRunner;
  readonly workers: Workers;
  readonly workerIndex = new WorkerIndex();
  readonly answers: AgentAnswers;
  readonly channels: ChannelRouter;
  readonly pool: WarmPool;
  readonly zygotes: ZygotePool;
  readonly admission: AdmissionGate;
  readonly recorder: Recorder;
  readonly roomTokens: RoomTokens;
  /** null: no LiveKit. */
  readonly roomRouter: RoomRouter | null;
  readonly #timers: DeadlineTimers;
  readonly #gaps: GapDetector;
  #stopLoad: () => void = () => undefined;

  constructor(deps: SupervisorDeps) {
    const { clock } = deps;
    this.deps = deps;
    this.#gaps = new GapDetector(clock, (gapMs) => this.#onGap(gapMs));
    this.sessions = new SessionHost({
      clock,
      settle: (step) => this.transitions.settle(step),
      idle: (session) => this.transitions.retireIfEnded(session),
      failed: (id, error) => this.#onFailedEvent(id, error),
      beforePost: () => this.#gaps.check(),
    });
    this.workers = deps.makeWorkers({
      exited: (id, exit) => this.#postToWorker(id, { type: 'exited', workerId: id, exit }),
      tree: (id, left) => this.#postToWorker(id, { type: 'tree', workerId: id, left }),
      resources: (id, memory, cpuPercent) =>
        this.#postToWorker(id, { type: 'resources', workerId: id, memory, cpuPercent }),
      memoryLimit: (id) =>
        this.#sessionOf(id)?.spec.profile.memoryBytes ??
        this.pool.memoryLimit(id) ??
        this.zygotes.memoryLimit(id),
    });
    this.channels = new ChannelRouter({
      channels: deps.channels,
      standIn: deps.standIn,
      sessionOf: (id) => this.#sessionOf(id),
      warmProfileOf: (id) => this.pool.profileOf(id),
      attached: (id, by) => this.#postToWorker(id, { type: 'attached', workerId: id, by }),
      note: (id, line) => this.workers.note(id, line),
    });
    this.answers = new AgentAnswers(this);
    this.zygotes = new ZygotePool({
      deps,
      workers: this.workers,
      changed: (agent) => this.pool.zygotesChanged(agent),
    });
    this.pool = new WarmPool({ deps, workers: this.workers, channels: this.channels, zygotes: this.zygotes });
    this.admission = new AdmissionGate(deps.limits, clock, {
      granted: (grant) => this.#onGrant(grant),
      expired: (id, detail) => this.sessions.post(id, { type: 'expired', detail }),
      wanted: (holder) => this.sessions.post(holder, { type: 'claim_wanted' }),
    });
    this.recorder = new Recorder(deps, (id) => {
      const session = this.sessions.state(id);
      if (session !== null) this.transitions.retireIfEnded(session);
    });
    this.roomRouter =
      deps.rooms === null ? null : new RoomRouter({ ...deps, rooms: deps.rooms }, this.sessions);
    deps.registry.onLost((lost) => this.#onLost(lost));
    this.#timers = new DeadlineTimers(clock, (id) => this.sessions.post(id, { type: 'tick' }));
    this.roomTokens = new RoomTokens(deps);
    const effects = new EffectRunner(this);
    this.transitions = new TransitionRunner({ parts: this, effects, timers: this.#timers });
  }

  /** Listens to workers and to LiveKit. Rejects when an address is taken. */
  async start(): Promise<void> {
    await this.channels.listen({
      hello: (id) => this.#onHello(id),
      message: (id, message) => this.#postToWorker(id, { type: 'message', workerId: id, message }),
      closed: (id) => this.#postToWorker(id, { type: 'channel', workerId: id, open: false }),
      answered: (id, answer) => this.#onAnswered(id, answer),
    });
    await this.roomRouter?.start();
    this.#watchAgain();
    const { hostMonitor, clock } = this.deps;
    if (hostMonitor !== undefined)
      this.#stopLoad = watchLoad(hostMonitor, { clock, admission: this.admission });
    this.#gaps.start();
  }

  /** Race: the earlier supervisor died between the record of a teardown and the record of the watch for a returning caller. Removed agents have no record of their own. */
  #watchAgain(): void {
    const all = this.sessions.all();
    const followed = new Set(all.map(({ spec }) => spec.rejoin?.of));
    for (const session of all) {
      this.roomRouter?.removed.note(session);
      if (!isIn(session, 'closing') || followed.has(session.spec.id)) continue;
      const watch = rejoinWatch(session, this.deps.clock.now());
      const watches = this.roomRouter?.watches;
      if (watch !== null && watches?.isWatched(watch.room, watch.roomSid, watch.claim) === false)
        watches.watch(watch);
    }
  }

  /** Stops timers and connections. Workers and sessions continue. */
  close(): void {
    void this.workers.close();
    this.#gaps.stop();
    this.#stopLoad();
    this.pool.close();
    this.zygotes.close();
    this.admission.close();
    this.recorder.close();
    this.#timers.close();
  }

  #sessionOf(id: WorkerId): Session | null {
    const owner = this.workerIndex.of(id);
    return owner === null ? null : this.sessions.state(owner);
  }

  #postToWorker(id: WorkerId, event: SessionEvent): void {
    const owner = this.workerIndex.of(id);
    if (this.pool.has(id)) this.pool.handle(id, event);
    if (this.zygotes.has(id)) this.zygotes.handle(id, event);
    if (owner === null || (isFromChannel(event) && this.pool.isReservedFor(id, owner))) return;
    this.sessions.post(owner, event);
  }

  #onHello(id: WorkerId): boolean {
    const session = this.#sessionOf(id);
    if (this.zygotes.has(id)) return this.zygotes.hello(id);
    if (session === null || isEnded(session) || workerOf(session)?.id !== id) return this.pool.hello(id);
    if (this.pool.isReservedFor(id, session.spec.id)) return this.pool.hello(id);
    // Because: the channel notes its connection after this call, and the welcome needs the connection.
    queueMicrotask(() => this.#postToWorker(id, { type: 'channel', workerId: id, open: true }));
    return true;
  }

  /** Two sessions can share a room with claims of their own. Their agents need different identities. */
  #onAnswered(id: WorkerId, answer: AgentAnswer): void {
    const session = this.#sessionOf(id);
    if (session === null) return;
    const { room, claim } = session.spec;
    const isTaken =
      answer.kind === 'accepted' &&
      this.sessions
        .all()
        .some(
          ({ spec, phase }) =>
            phase.name !== 'ended' &&
            roomId(spec.room) === roomId(room) &&
            spec.claim !== claim &&
            spec.agentIdentity === answer.identity,
        );
    this.#postToWorker(id, { type: 'answered', workerId: id, answer, isTaken });
    this.answers.note(id, answer);
  }

  /** Admission has granted a queued session. It gets a warm worker if one is ready. */
  #onGrant({ sessionId, startAtMs }: Grant): void {
    const { sessions, pool, deps } = this;
    const session = sessions.state(sessionId);
    const warm = session === null ? null : pool.take(session.spec.profile, sessionId);
    if (warm === null)
      sessions.post(sessionId, { type: 'granted', startAtMs, workerId: firstWorkerId(sessionId) });
    else void grantWarm({ clock: deps.clock, pool, sessions }, sessionId, warm);
  }

  #onGap(gapMs: number): void {
    this.deps.log.warn(
      { gapMs: Math.round(gapMs) },
      'the clock did not tick for a while: deadlines of silence and absence start again',
    );
    this.sessions.postFirstToAll({ type: 'gap', gapMs });
  }

  #onFailedEvent(id: SessionId, error: unknown): void {
    this.deps.log.error(
      { session: id, error: messageOf(error) },
      this.transitions.isUnrecorded(id)
        ? 'the first event of a session failed; its dispatch is refused'
        : 'an event of a session failed; the session continues without it',
    );
    this.transitions.onFailedEvent(id, error);
  }

  #onLost(lost: DatabaseLoss): void {
    // A session without its first record is not accepted yet. The record goes into the new database, or fails.
    const all = this.sessions.all().filter(({ spec }) => !this.transitions.isUnrecorded(spec.id));
    this.recorder.writeAll(
      lost,
      all.map(({ spec }) => [spec.id, () => this.sessions.state(spec.id)]),
    );
    this.roomRouter?.watches.recordAll();
  }
}

/**
 * An event of the worker's channel. While the pool keeps a warm worker for a session, such events are for the pool alone.
 * The worker has no room yet, so its repeated `ready` must not make the session live.
 */
function isFromChannel({ type }: SessionEvent): boolean {
  return type === 'message' || type === 'channel';
}
