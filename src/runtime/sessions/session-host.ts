/** All sessions of this supervisor: their mailboxes, timers and effects, and what the world tells each of them. */
import type { Grant } from '../../core/admission/admission.ts';
import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf, sameAllocation } from '../../core/admission/allocation.ts';
import type { RoomKey, SessionId, WorkerId } from '../../core/ids.ts';
import { firstWorkerId } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { nextTickMs } from '../../core/session/deadlines.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Workers } from '../../ports/workers.ts';
import { AdmissionGate } from '../dispatch/admission-gate.ts';
import { RoomRouter } from '../rooms/room-router.ts';
import { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import { ChannelRouter } from '../workers/channel-router.ts';
import { grantWarm, settleWarmWorker } from '../workers/warm-handoff.ts';
import { WarmPool } from '../workers/warm-pool.ts';
import type { Step } from './commit.ts';
import { forgetReplacedWorker, recordAssigned, recordInFolder, recordStep } from './commit.ts';
import { DeadlineTimers } from './deadline-timers.ts';
import { performEffect } from './effect-runner.ts';
import { GapDetector } from './gap-detector.ts';
import { Mailbox } from './mailbox.ts';
import { Recorder } from './recorder.ts';
import { describeStep } from './session-log.ts';
import { WorkerIndex } from './worker-index.ts';

interface Entry {
  readonly box: Mailbox;
  allocation: Allocation | null;
}

export class SessionHost {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly channels: ChannelRouter;
  readonly roomTokens: RoomTokens;
  readonly pool: WarmPool;
  readonly admission: AdmissionGate;
  readonly recorder: Recorder;
  readonly roomRouter: RoomRouter | null;
  readonly #gapDetector: GapDetector;
  readonly #timers: DeadlineTimers;
  readonly #entries = new Map<SessionId, Entry>();
  readonly #early = new Map<SessionId, SessionEvent[]>();
  readonly #workerIndex = new WorkerIndex();
  readonly #changed = new Set<() => void>();
  #onHoldings: () => void = () => {};
  #onFound: (room: RoomKey, roomSid: string) => void = () => {};
  #lastCall: SessionEvent | null = null;

  constructor(deps: SupervisorDeps) {
    this.deps = deps;
    this.workers = deps.makeWorkers({
      exited: (id, exit) => this.#tellOwner(id, { type: 'exited', workerId: id, exit }),
      tree: (id, left) => this.#tellOwner(id, { type: 'tree', workerId: id, left }),
      resources: (id, rssBytes, cpuPercent) =>
        this.#tellOwner(id, { type: 'resources', workerId: id, rssBytes, cpuPercent }),
    });
    const { channels, standIn } = deps;
    this.roomTokens = new RoomTokens(deps.rooms);
    this.channels = new ChannelRouter({
      channels,
      standIn,
      sessionOf: (id) => this.#ownerOf(id),
      warmProfileOf: (id) => this.pool.profileOf(id),
    });
    this.pool = new WarmPool({ deps, workers: this.workers, channels: this.channels });
    this.admission = new AdmissionGate(deps.limits, deps.clock, {
      granted: (grant) => this.#granted(grant),
      expired: (id, detail) => this.#postOrKeep(id, { type: 'expired', detail }),
      wanted: (holder) => this.post(holder, { type: 'claim_wanted' }),
      changed: () => this.#onHoldings(),
    });
    this.recorder = new Recorder(deps, (id) => this.#retireIfEnded(id));
    const listener = {
      tell: (id: SessionId, event: SessionEvent) => this.post(id, event),
      tellAll: (event: SessionEvent) => this.tellAll(event),
      found: (room: RoomKey, roomSid: string) => this.#onFound(room, roomSid),
    };
    this.roomRouter =
      deps.rooms === null
        ? null
        : new RoomRouter({ rooms: deps.rooms, registry: deps.registry, log: deps.log }, listener);
    deps.registry.onLost((lost) => {
      this.recorder.writeAll(
        lost,
        [...this.#entries.keys()].map((id) => [id, () => this.state(id)]),
      );
      this.roomRouter?.recordAll();
    });
    this.#timers = new DeadlineTimers(deps.clock, (id) => this.post(id, { type: 'tick' }));
    this.#gapDetector = new GapDetector(deps.clock, (gapMs) => this.#gap(gapMs));
  }

  async start(): Promise<void> {
    await this.channels.listen({
      hello: (id) => this.#hello(id),
      message: (id, message) => this.#tellOwner(id, { type: 'message', workerId: id, message }),
      closed: (id) => this.#tellOwner(id, { type: 'channel', workerId: id, open: false }),
    });
    await this.roomRouter?.start();
    this.#gapDetector.start();
  }

  /** Stops what runs by itself here. Workers are left as they are. */
  close(): void {
    void this.workers.close();
    this.#gapDetector.stop();
    this.pool.close();
    this.admission.close();
    this.recorder.close();
    this.#timers.close();
  }

  /** Takes a recorded session in and does what its last decision wants. */
  add(session: Session, effects: readonly Effect[]): void {
    const { id } = session.spec;
    const box = new Mailbox(session, {
      now: () => this.deps.clock.now(),
      settle: (step) => this.#settle(step),
      idle: (state) => this.#idle(state),
      failed: (failedId, error) =>
        this.deps.log.error(
          { session: failedId, error: messageOf(error) },
          'an event of a session failed; the session goes on',
        ),
    });
    this.#entries.set(id, { box, allocation: null });
    this.#workerIndex.note(session);
    this.roomRouter?.follow(session);
    for (const effect of effects) performEffect(this, session, effect);
    recordAssigned(this.workers, session, effects);
    this.#updateAllocation(session);
    for (const event of this.#early.get(id) ?? []) this.post(id, event);
    this.dropEarly(id);
    if (this.#lastCall !== null) this.post(id, this.#lastCall);
    // LiveKit may be away just now: absence must not be inferred from silence.
    if (this.deps.rooms?.status()?.reachable === false) this.post(id, { type: 'livekit', reachable: false });
  }

  /** Nothing came of the session. */
  dropEarly(id: SessionId): void {
    this.#early.delete(id);
  }

  state(id: SessionId): Session | null {
    return this.#entries.get(id)?.box.state ?? null;
  }

  /** Whether a session that is open, or still holds something, has this worker or was promised it. */
  isOwned(id: WorkerId): boolean {
    return this.#workerIndex.of(id) !== null;
  }

  /** Resolves when every event of the session is handled. */
  async idle(id: SessionId): Promise<void> {
    await this.#entries.get(id)?.box.idle();
  }

  all(): Session[] {
    return [...this.#entries.values()].map((entry) => entry.box.state);
  }

  post(id: SessionId, event: SessionEvent): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#gapDetector.check();
    entry.box.post(event);
  }

  /** Releases every session, and each that is still being taken in. */
  releaseAll(event: Extract<SessionEvent, { type: 'release' }>): void {
    this.#lastCall = event;
    this.tellAll(event);
  }

  tellAll(event: SessionEvent): void {
    for (const id of this.#entries.keys()) this.post(id, event);
  }

  /** Calls back after every change of any session until the returned function is called. */
  onChange(callback: () => void): () => void {
    this.#changed.add(callback);
    return () => this.#changed.delete(callback);
  }

  /** Calls back whenever somebody takes or gives up a place. */
  onHoldings(callback: () => void): void {
    this.#onHoldings = callback;
  }

  /** Calls back for each room that the rooms were asked to discover. */
  onFound(callback: (room: RoomKey, roomSid: string) => void): void {
    this.#onFound = callback;
  }

  #gap(gapMs: number): void {
    this.deps.log.warn(
      { gapMs: Math.round(gapMs) },
      'the clock did not tick for a while: deadlines of silence and absence count anew',
    );
    for (const entry of this.#entries.values()) entry.box.postFirst({ type: 'gap', gapMs });
  }

  #granted({ sessionId, startAtMs }: Grant): void {
    const session = this.state(sessionId);
    const warm = session === null ? null : this.pool.take(session.spec.profile, sessionId);
    if (warm === null)
      this.#postOrKeep(sessionId, { type: 'granted', startAtMs, workerId: firstWorkerId(sessionId) });
    else void grantWarm(this, sessionId, warm);
  }

  /** Admission may answer while the session's first record is still being written. */
  #postOrKeep(id: SessionId, event: SessionEvent): void {
    if (this.#entries.has(id)) this.post(id, event);
    else this.#early.set(id, [...(this.#early.get(id) ?? []), event]);
  }

  #hello(id: WorkerId): boolean {
    const session = this.#ownerOf(id);
    if (session === null || isEnded(session) || workerOf(session)?.id !== id) return this.pool.hello(id);
    // After the channel has noted the connection, so that the welcome finds it.
    queueMicrotask(() => this.#tellOwner(id, { type: 'channel', workerId: id, open: true }));
    return true;
  }

  #ownerOf(id: WorkerId): Session | null {
    const owner = this.#workerIndex.of(id);
    return owner === null ? null : this.state(owner);
  }

  #tellOwner(id: WorkerId, event: SessionEvent): void {
    const owner = this.#workerIndex.of(id);
    if (this.pool.has(id)) this.pool.tell(id, event);
    if (owner !== null) this.post(owner, event);
  }

  async #settle(step: Step): Promise<void> {
    const { before, after } = step;
    this.#workerIndex.note(after);
    // Admission learns at once that a claim is closing; a record that frees it is on its way before the next one asks.
    const recording = recordStep(this, step);
    this.#updateAllocation(after);
    settleWarmWorker(this.pool, before, after);
    forgetReplacedWorker(this, before, after);
    const { allowed, record } = await recording;
    for (const effect of allowed) performEffect(this, after, effect);
    record?.();
    recordInFolder(this.workers, step);
    const said = describeStep(before, after);
    if (said !== null) this.deps.log[said.level](said.fields, said.message);
  }

  /** Tells admission what the session holds now, and when time will next matter to it. */
  #updateAllocation(session: Session): void {
    const entry = this.#entries.get(session.spec.id);
    if (entry === undefined) return;
    const holding = allocationOf(session);
    // Its turn may have come before its end was known: then admission knows of a place of which it does not.
    if (!sameAllocation(entry.allocation, holding) || isEnded(session)) {
      entry.allocation = holding;
      this.admission.update(session.spec.id, holding);
    }
    if (isEnded(session)) this.admission.withdraw(session.spec.id);
    const nowMs = this.deps.clock.now().bootMs;
    this.#timers.set(session.spec.id, nextTickMs(session, nowMs));
  }

  #idle(session: Session): void {
    if (isEnded(session)) this.#retire(session);
    for (const callback of this.#changed) callback();
  }

  #retireIfEnded(id: SessionId): void {
    const session = this.state(id);
    if (session !== null && isEnded(session)) this.#retire(session);
  }

  /** An ended session leaves memory when it is on disk and holds nothing any more. */
  #retire(session: Session): void {
    const { id } = session.spec;
    if (allocationOf(session) !== null) return;
    this.roomRouter?.unfollow(session);
    const worker = workerOf(session);
    if (worker !== null) for (const held of [this.workers, this.channels]) held.forget(worker.id);
    if (this.recorder.isUnsaved(id)) return;
    this.#workerIndex.forget(id);
    this.#timers.cancel(id);
    this.roomTokens.forget(id);
    this.#entries.delete(id);
  }
}
