/** All sessions of this supervisor: their mailboxes, timers and effects, and what the world tells each of them. */
import type { Grant } from '../core/admission.ts';
import { nextTickMs } from '../core/deadlines.ts';
import type { Effect } from '../core/effect.ts';
import type { SessionEvent } from '../core/event.ts';
import type { Holding } from '../core/holdings.ts';
import { holdingOf, sameHolding } from '../core/holdings.ts';
import type { RoomKey, SessionId, WorkerId } from '../core/ids.ts';
import { firstWorkerId } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { isEnded, workerOf } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import type { Workers } from '../ports.ts';
import { Access } from './access.ts';
import type { SupervisorDeps } from './deps.ts';
import { performEffect } from './effects.ts';
import { FrontDesk } from './front-desk.ts';
import { describeStep } from './journal.ts';
import { Lines } from './lines.ts';
import { Mailbox } from './mailbox.ts';
import { Owners } from './owners.ts';
import { Pulse } from './pulse.ts';
import type { Step } from './record-step.ts';
import { forgetOld, recordBeside, recordGiven, recordStep } from './record-step.ts';
import { Recorder } from './recorder.ts';
import { RoomDesk } from './room-desk.ts';
import { Ticks } from './ticks.ts';
import { grantWarm, passOn } from './warm.ts';
import { WarmPool } from './warm-pool.ts';

interface Entry {
  readonly box: Mailbox;
  holding: Holding | null;
}

export class Sessions {
  readonly deps: SupervisorDeps;
  readonly workers: Workers;
  readonly lines: Lines;
  readonly access: Access;
  readonly pool: WarmPool;
  readonly desk: FrontDesk;
  readonly recorder: Recorder;
  readonly roomDesk: RoomDesk | null;
  readonly #pulse: Pulse;
  readonly #ticks: Ticks;
  readonly #entries = new Map<SessionId, Entry>();
  readonly #early = new Map<SessionId, SessionEvent[]>();
  readonly #owners = new Owners();
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
    this.access = new Access(deps.rooms);
    this.lines = new Lines({
      channels,
      standIn,
      sessionOf: (id) => this.#ownerOf(id),
      warmProfileOf: (id) => this.pool.profileOf(id),
    });
    this.pool = new WarmPool({ deps, workers: this.workers, lines: this.lines });
    this.desk = new FrontDesk(deps.limits, deps.clock, {
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
    this.roomDesk =
      deps.rooms === null
        ? null
        : new RoomDesk({ rooms: deps.rooms, registry: deps.registry, log: deps.log }, listener);
    deps.registry.onLost((lost) => {
      this.recorder.writeAll(
        lost,
        [...this.#entries.keys()].map((id) => [id, () => this.state(id)]),
      );
      this.roomDesk?.recordAll();
    });
    this.#ticks = new Ticks(deps.clock, (id) => this.post(id, { type: 'tick' }));
    this.#pulse = new Pulse(deps.clock, (gapMs) => this.#gap(gapMs));
  }

  async start(): Promise<void> {
    await this.lines.listen({
      hello: (id) => this.#hello(id),
      message: (id, message) => this.#tellOwner(id, { type: 'message', workerId: id, message }),
      closed: (id) => this.#tellOwner(id, { type: 'channel', workerId: id, open: false }),
    });
    await this.roomDesk?.start();
    this.#pulse.start();
  }

  /** Stops what runs by itself here. Workers are left as they are. */
  close(): void {
    void this.workers.close();
    this.#pulse.stop();
    this.pool.close();
    this.desk.close();
    this.recorder.close();
    this.#ticks.close();
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
    this.#entries.set(id, { box, holding: null });
    this.#owners.note(session);
    this.roomDesk?.follow(session);
    for (const effect of effects) performEffect(this, session, effect);
    recordGiven(this.workers, session, effects);
    this.#account(session);
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
    return this.#owners.of(id) !== null;
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
    this.#pulse.check();
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
    const owner = this.#owners.of(id);
    return owner === null ? null : this.state(owner);
  }

  #tellOwner(id: WorkerId, event: SessionEvent): void {
    const owner = this.#owners.of(id);
    if (this.pool.has(id)) this.pool.tell(id, event);
    if (owner !== null) this.post(owner, event);
  }

  async #settle(step: Step): Promise<void> {
    const { before, after } = step;
    this.#owners.note(after);
    // Admission learns at once that a claim is closing; a record that frees it is on its way before the next one asks.
    const recording = recordStep(this, step);
    this.#account(after);
    passOn(this.pool, before, after);
    forgetOld(this, before, after);
    const { allowed, record } = await recording;
    for (const effect of allowed) performEffect(this, after, effect);
    record?.();
    recordBeside(this.workers, step);
    const said = describeStep(before, after);
    if (said !== null) this.deps.log[said.level](said.fields, said.message);
  }

  /** Tells admission what the session holds now, and when time will next matter to it. */
  #account(session: Session): void {
    const entry = this.#entries.get(session.spec.id);
    if (entry === undefined) return;
    const holding = holdingOf(session);
    // Its turn may have come before its end was known: then admission knows of a place of which it does not.
    if (!sameHolding(entry.holding, holding) || isEnded(session)) {
      entry.holding = holding;
      this.desk.update(session.spec.id, holding);
    }
    if (isEnded(session)) this.desk.withdraw(session.spec.id);
    const nowMs = this.deps.clock.now().bootMs;
    this.#ticks.set(session.spec.id, nextTickMs(session, nowMs));
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
    if (holdingOf(session) !== null) return;
    this.roomDesk?.unfollow(session);
    const worker = workerOf(session);
    if (worker !== null) for (const held of [this.workers, this.lines]) held.forget(worker.id);
    if (this.recorder.isUnsaved(id)) return;
    this.#owners.forget(id);
    this.#ticks.cancel(id);
    this.access.forget(id);
    this.#entries.delete(id);
  }
}
