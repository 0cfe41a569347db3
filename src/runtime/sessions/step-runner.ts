/** Carries a session's step out: records it, does its effects, and keeps admission, timers and the worker index in step with it. */
import type { Allocation } from '../../core/admission/allocation.ts';
import { allocationOf, sameAllocation } from '../../core/admission/allocation.ts';
import type { SessionId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { isEnded, workerOf } from '../../core/model/session.ts';
import { nextTickMs } from '../../core/session/deadlines.ts';
import { messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import type { Workers } from '../../ports/workers.ts';
import type { AdmissionGate } from '../dispatch/admission-gate.ts';
import type { RoomRouter } from '../rooms/room-router.ts';
import type { RoomTokens } from '../rooms/room-tokens.ts';
import type { SupervisorDeps } from '../supervisor-deps.ts';
import type { ChannelRouter } from '../workers/channel-router.ts';
import { reservedWorker, settleWarmWorker } from '../workers/warm-handoff.ts';
import type { WarmPool } from '../workers/warm-pool.ts';
import { forgetReplacedWorker, recordInFolder, recordStep } from './commit.ts';
import type { DeadlineTimers } from './deadline-timers.ts';
import type { EffectRunner } from './effect-runner.ts';
import type { Step } from './mailbox.ts';
import type { Recorder } from './recorder.ts';
import type { SessionHost } from './session-host.ts';
import { describeStep } from './session-log.ts';
import type { WorkerIndex } from './worker-index.ts';

export interface StepRunnerParts {
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

export interface StepRunnerOptions {
  readonly parts: StepRunnerParts;
  readonly effects: EffectRunner;
  readonly timers: DeadlineTimers;
}

export class StepRunner {
  readonly #parts: StepRunnerParts;
  readonly #effects: EffectRunner;
  readonly #timers: DeadlineTimers;
  /** What admission knows of each session in memory. */
  readonly #allocations = new Map<SessionId, Allocation | null>();
  /** Sessions without a record yet, with the answer to their dispatch. */
  readonly #creating = new Map<SessionId, PromiseWithResolvers<Session>>();
  /** Why their first record failed. */
  readonly #recordErrors = new Map<SessionId, unknown>();

  constructor({ parts, effects, timers }: StepRunnerOptions) {
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
   * Rejects when it cannot be recorded: then nothing was accepted, and the session is gone.
   */
  create(session: Session, first: SessionEvent): Promise<Session> {
    const answer = Promise.withResolvers<Session>();
    this.#creating.set(session.spec.id, answer);
    this.#parts.sessions.open(session, first);
    return answer.promise;
  }

  /** An event of the session could not be handled. Its dispatch must not wait for ever. */
  failed(id: SessionId, error: unknown): void {
    const answer = this.#creating.get(id);
    if (answer === undefined) return;
    this.#creating.delete(id);
    this.#parts.sessions.close(id);
    this.#parts.admission.withdraw(id);
    this.#parts.admission.update(id, null);
    answer.reject(error);
  }

  async settle(step: Step): Promise<void> {
    const { before, after } = step;
    const answer = this.#creating.get(after.spec.id);
    if (answer !== undefined) return this.#settleFirst(step, answer);
    const { deps, workers, channels, pool, sessions, recorder } = this.#parts;
    this.#parts.workerIndex.note(after);
    // Admission learns at once that a claim is closing. The record that frees the claim is written before that of the next session.
    const recording = recordStep({ recorder, workers, sessions }, step);
    this.#updateAllocation(after);
    settleWarmWorker(pool, before, after);
    forgetReplacedWorker({ workers, channels }, before, after);
    const { allowed, record } = await recording;
    for (const effect of allowed) this.#effects.run(after, effect);
    record?.();
    recordInFolder(workers, step);
    const line = describeStep(before, after);
    if (line !== null) deps.log[line.level](line.fields, line.message);
  }

  /** The session's first record. A failed one is an event, and what came meanwhile waits behind it. */
  async #settleFirst(step: Step, answer: PromiseWithResolvers<Session>): Promise<void> {
    const { before, after } = step;
    const { id } = after.spec;
    const { workers, pool, sessions, recorder, workerIndex } = this.#parts;
    this.#updateAllocation(after);
    if (isEnded(after)) {
      // `record_failed` was the step: nothing is left to record.
      this.#creating.delete(id);
      answer.reject(this.#recordErrors.get(id));
      this.#recordErrors.delete(id);
      return;
    }
    workerIndex.note(after);
    failpoint('dispatch.before-record');
    try {
      await recorder.create(after);
    } catch (error) {
      const promised = workerOf(after) ?? reservedWorker(after);
      if (promised !== null) pool.giveBack(promised.id, id);
      this.#recordErrors.set(id, error);
      sessions.postFirst(id, { type: 'record_failed', detail: messageOf(error) });
      return;
    }
    failpoint('dispatch.recorded');
    this.#creating.delete(id);
    answer.resolve(after);
    settleWarmWorker(pool, before, after);
    this.#followRoom(after);
    for (const effect of step.effects) this.#effects.run(after, effect);
    recordInFolder(workers, step);
  }

  /** An ended session leaves memory when it is on disk and holds nothing any more. */
  retireIfEnded(session: Session): void {
    if (!isEnded(session) || allocationOf(session) !== null) return;
    const { workers, channels, recorder, roomRouter, workerIndex, roomTokens, sessions } = this.#parts;
    const { id } = session.spec;
    roomRouter?.unfollow(session);
    const worker = workerOf(session);
    if (worker !== null) for (const held of [workers, channels]) held.forget(worker.id);
    if (recorder.isUnsaved(id)) return;
    workerIndex.forget(id);
    this.#timers.cancel(id);
    roomTokens.forget(id);
    this.#allocations.delete(id);
    sessions.close(id);
  }

  /** From the first record on, because webhooks of earlier are not about this session. */
  #followRoom(session: Session): void {
    const { sessions, roomRouter } = this.#parts;
    roomRouter?.follow(session);
    // Because: absence must not be inferred while LiveKit does not answer.
    if (roomRouter?.isReachable === false)
      sessions.post(session.spec.id, { type: 'livekit', reachable: false });
  }

  /** Tells admission what the session holds now, and the timers when its next deadline is. */
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
