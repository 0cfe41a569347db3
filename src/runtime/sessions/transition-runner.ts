/** Carries out a session's step: records it, starts its effects, and updates admission, timers and the worker index. */
import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf, sameAllocation } from '../../core/admission/allocation.ts';
import type { SessionId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, reservedWorker, workerOf } from '../../core/model/session.ts';
import { nextTickMs } from '../../core/session/deadlines.ts';
import { hasPassedClaim } from '../../core/teardown/finishing.ts';
import { isAgentRemoved } from '../../core/teardown/removal.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import type { Workers } from '../../ports/workers.ts';
import type { AdmissionGate } from '../dispatch/admission-gate.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import { settleWarmWorker } from '../workers/warm-handoff.ts';
import type { WarmPool } from '../workers/warm-pool.ts';
import { forgetReplacedWorker, recordInFolder, recordStep } from './commit.ts';
import type { DeadlineTimers } from './deadline-timers.ts';
import type { EffectRunner } from './effect-runner.ts';
import type { Transition } from './mailbox.ts';
import type { Recorder } from './recorder.ts';
import type { SessionHost } from './session-host.ts';
import { describeStep } from './session-log.ts';
import type { WorkerIndex } from './worker-index.ts';

export interface TransitionRunnerParts {
  readonly deps: Pick<SupervisorDeps, 'clock' | 'log'>;
  readonly sessions: SessionHost;
  readonly workers: Workers;
  readonly workerIndex: WorkerIndex;
  readonly channels: ChannelRouter;
  readonly pool: WarmPool;
  readonly admission: AdmissionGate;
  readonly recorder: Recorder;
  readonly roomTokens: RoomTokens;
  /** null: no LiveKit. */
  readonly roomRouter: RoomRouter | null;
}

export interface TransitionRunnerOptions {
  readonly parts: TransitionRunnerParts;
  readonly effects: EffectRunner;
  readonly timers: DeadlineTimers;
}

/** A session without its first record, while that record is written. */
interface Creation {
  /** The answer to its dispatch. */
  readonly answer: PromiseWithResolvers<Session>;
  /** Why the record failed; null: it has not failed. */
  failure: { readonly error: unknown } | null;
}

export class TransitionRunner {
  readonly #parts: TransitionRunnerParts;
  readonly #effects: EffectRunner;
  readonly #timers: DeadlineTimers;
  /** The last allocation that admission got for each session in memory. */
  readonly #allocations = new Map<SessionId, Allocation | null>();
  /** Sessions without a record yet. */
  readonly #creations = new Map<SessionId, Creation>();

  constructor({ parts, effects, timers }: TransitionRunnerOptions) {
    this.#parts = parts;
    this.#effects = effects;
    this.#timers = timers;
  }

  /** Opens the mailbox of a recorded session. */
  open(session: Session): void {
    this.#parts.sessions.open(session);
    this.#parts.workerIndex.note(session);
    this.#followRoom(session);
    this.#updateAllocation(session);
  }

  /**
   * Opens the mailbox of a new session with its first event. Resolves with the session as it is on record.
   * Rejects when the session cannot be recorded: then nothing was accepted, and the session is forgotten.
   */
  create(session: Session, first: SessionEvent): Promise<Session> {
    const answer = Promise.withResolvers<Session>();
    this.#creations.set(session.spec.id, { answer, failure: null });
    this.#parts.sessions.open(session, first);
    return answer.promise;
  }

  /** Whether the session's first record is being written, or has failed. */
  isUnrecorded(id: SessionId): boolean {
    return this.#creations.has(id);
  }

  /** An event of the session could not be handled. A dispatch that waits for its answer is refused. */
  onFailedEvent(id: SessionId, error: unknown): void {
    const session = this.#parts.sessions.state(id);
    if (session === null) return;
    const creation = this.#creations.get(id);
    if (creation === undefined) this.#timers.setAgain(id);
    else this.#refuse(session, { ...creation, failure: { error } });
  }

  async settle(step: Transition): Promise<void> {
    const { before, after } = step;
    const creation = this.#creations.get(after.spec.id);
    if (creation !== undefined) return this.#settleFirst(step, creation);
    const { deps, workers, channels, pool, sessions, recorder } = this.#parts;
    this.#parts.workerIndex.note(after);
    if (isAgentRemoved(after) && !isAgentRemoved(before)) this.#parts.roomRouter?.removed.note(after);
    if (hasPassedClaim(after) && !hasPassedClaim(before)) failpoint('claim.passed');
    // Admission learns at once that a claim is closing. The record that frees a claim is written before the record of the next session.
    const recording = recordStep({ recorder, workers, sessions }, step);
    this.#updateAllocation(after);
    settleWarmWorker({ pool, sessions }, before, after);
    forgetReplacedWorker({ workers, channels }, before, after);
    const { allowed, record } = await recording;
    for (const effect of allowed) this.#effects.run(after, effect);
    record?.();
    recordInFolder(workers, step);
    const line = describeStep(before, after);
    if (line !== null) deps.log[line.level](line.fields, line.message);
  }

  /** Writes the session's first record. A failure is an event, and the events that arrive meanwhile wait behind it. */
  async #settleFirst(step: Transition, creation: Creation): Promise<void> {
    const { before, after } = step;
    const { id } = after.spec;
    const { workers, pool, sessions, recorder, workerIndex } = this.#parts;
    if (creation.failure !== null) {
      // Race: a gap is put before `record_failed`. Nothing of a refused session is recorded or started.
      if (isEnded(after)) this.#refuse(after, creation);
      return;
    }
    this.#updateAllocation(after);
    workerIndex.note(after);
    failpoint('dispatch.before-record');
    try {
      await recorder.create(after);
    } catch (error) {
      this.#giveBackWarm(after);
      creation.failure = { error };
      sessions.postFirst(id, { type: 'record_failed', detail: messageOf(error) });
      return;
    }
    failpoint('dispatch.recorded');
    this.#creations.delete(id);
    creation.answer.resolve(after);
    settleWarmWorker({ pool, sessions }, before, after);
    this.#followRoom(after);
    for (const effect of step.effects) this.#effects.run(after, effect);
    recordInFolder(workers, step);
  }

  /** Nothing of the session was accepted. It is forgotten before its dispatch is answered, because its id may be used again at once. */
  #refuse(session: Session, { answer, failure }: Creation): void {
    const { id } = session.spec;
    const { admission } = this.#parts;
    this.#creations.delete(id);
    this.#giveBackWarm(session);
    admission.withdraw(id);
    admission.update(id, null);
    this.#forget(id);
    answer.reject(failure?.error);
  }

  /** The warm worker that a refused session was to get. The pool ignores every other worker. */
  #giveBackWarm(session: Session): void {
    const worker = workerOf(session) ?? reservedWorker(session);
    if (worker !== null) this.#parts.pool.giveBack(worker.id, session.spec.id);
  }

  /** An ended session leaves memory when it is on disk and its allocation is free. */
  retireIfEnded(session: Session): void {
    if (!isEnded(session) || allocationOf(session) !== null) return;
    const { workers, channels, recorder, roomRouter } = this.#parts;
    const { id } = session.spec;
    roomRouter?.unfollow(session);
    const worker = workerOf(session);
    if (worker !== null) for (const part of [workers, channels]) part.forget(worker.id);
    if (!recorder.isUnsaved(id)) this.#forget(id);
  }

  #forget(id: SessionId): void {
    const { workerIndex, roomTokens, sessions } = this.#parts;
    workerIndex.forget(id);
    this.#timers.cancel(id);
    roomTokens.forget(id);
    this.#allocations.delete(id);
    sessions.close(id);
  }

  /** Called after the first record, because earlier webhooks are not about this session. */
  #followRoom(session: Session): void {
    const { sessions, roomRouter } = this.#parts;
    roomRouter?.follow(session);
    // Because: absence must not be inferred while LiveKit does not answer.
    if (roomRouter?.isReachable === false)
      sessions.post(session.spec.id, { type: 'livekit', reachable: false });
  }

  /** Gives admission the session's allocation, and the timers its next deadline. */
  #updateAllocation(session: Session): void {
    const { admission, sessions, deps } = this.#parts;
    const { id } = session.spec;
    if (sessions.state(id) === null) return;
    const allocation = allocationOf(session);
    // Race: the grant can arrive before the end. Admission then holds a slot that the session does not show, so update it at every end.
    if (!sameAllocation(this.#allocations.get(id) ?? null, allocation) || isEnded(session)) {
      this.#allocations.set(id, allocation);
      admission.update(id, allocation);
    }
    if (isEnded(session)) admission.withdraw(id);
    this.#timers.set(id, nextTickMs(session, deps.clock.now().bootMs));
  }
}
