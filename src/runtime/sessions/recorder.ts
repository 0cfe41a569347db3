/** Writes the sessions to the registry. A change that needs a durable record waits for it. Every other change continues and is recorded later. */

import { allocationOf, isUnkillable } from '../../core/admission/allocation.ts';
import type { ClaimKey, SessionId, Stamp } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { isReplacing } from '../../core/model/session.ts';
import { hasPassedClaim } from '../../core/teardown/finishing.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { RECORDING } from '../../lib/limits/storage-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { DatabaseLoss, Registry } from '../../ports/registry.ts';

export interface RegistryStatus {
  readonly writable: boolean;
  readonly error: string | null;
  /** The path to which the last damaged database was moved; null: none was damaged since the start. */
  readonly setAside: string | null;
}

/** Whether a change needs a record, and whether that record must survive a power cut. `none`: a restart learns the change again. */
export function recordNeed(before: Session, after: Session, now: Stamp): 'none' | 'soon' | 'durable' {
  if (before.phase !== after.phase && before.phase.name !== after.phase.name) return 'durable';
  if (before.restarts !== after.restarts) return 'durable';
  // The agent enters the room under this identity next, and a restart must know it as this session's.
  if (before.spec.agentIdentity !== after.spec.agentIdentity) return 'durable';
  // After a restart, too, no other worker may dial the same phone.
  if (before.dialled !== after.dialled) return 'durable';
  // No other session may get this warm worker now.
  if (before.warmLater !== after.warmLater) return 'durable';
  // The worker that is being replaced is about to be signalled.
  if (isReplacing(before) !== isReplacing(after)) return 'durable';
  // The next session of the room can get the claim now.
  if (hasPassedClaim(before) !== hasPassedClaim(after)) return 'durable';
  // An unkillable worker is gone now, so its claim is free.
  if (isUnkillable(before) !== isUnkillable(after)) return 'durable';
  const isChanged =
    before.phase !== after.phase || before.errors !== after.errors || before.config !== after.config;
  const isLearnt =
    before.presence.callersSeen !== after.presence.callersSeen ||
    before.presence.speakerSeen !== after.presence.speakerSeen ||
    before.presence.roomSid !== after.presence.roomSid ||
    before.presence.outboundSeen !== after.presence.outboundSeen;
  return isChanged || isLearnt || isIdlePostponed(before, after, now) || isSilenceAllowed(before, after, now)
    ? 'soon'
    : 'none';
}

/** A keep-alive beyond the ordinary idle timeout. A restart begins the ordinary timeout again, but would lose the longer one. */
function isIdlePostponed(before: Session, after: Session, now: Stamp): boolean {
  const [beforeMs, afterMs] = [before.vitals.idleAtMs, after.vitals.idleAtMs];
  if (afterMs === null || afterMs === beforeMs) return false;
  return beforeMs === null || afterMs > now.bootMs + after.spec.limits.activityIdleTimeoutMs;
}

/** A keep-alive beyond `no_active_stream`. A restart begins that time again, but would lose the longer one. */
function isSilenceAllowed(before: Session, after: Session, now: Stamp): boolean {
  const { noActiveStreamMs } = after.spec.limits;
  const [beforeMs = 0, afterMs = 0] = [before.vitals.activityMs, after.vitals.activityMs];
  return noActiveStreamMs !== null && afterMs > beforeMs && afterMs > now.bootMs + noActiveStreamMs;
}

export class Recorder {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #unsaved = new Map<SessionId, () => Session | null>();
  /** Refused sessions that may still get a record, because the registry answered late. */
  readonly #undiscarded = new Set<SessionId>();
  #status: RegistryStatus = { writable: true, error: null, setAside: null };
  /** The number of writes of each session that have no answer yet. */
  readonly #inFlight = new Map<SessionId, number>();
  readonly #batch = new Map<SessionId, () => Session | null>();
  #cancelBatch: (() => void) | null = null;
  #cancelRetry: (() => void) | null = null;
  #closed = false;

  readonly #onSavedLate: (id: SessionId) => void;

  /** `onSavedLate`: called after each later save, because an ended session leaves memory only when it is on disk. */
  constructor(
    { registry, clock, log }: { registry: Registry; clock: Clock; log: Log },
    onSavedLate: (id: SessionId) => void,
  ) {
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
    this.#onSavedLate = onSavedLate;
  }

  get status(): RegistryStatus {
    return this.#status;
  }

  /** Writes the first record of a session. Rejects when that fails: then nothing was accepted. */
  async create(session: Session): Promise<void> {
    const { id } = session.spec;
    const refusedBefore = this.#undiscarded.delete(id);
    // Write pending releases first. A crash between the two writes would leave two owners of one claim.
    if (this.#unsaved.size > 0) void this.flush();
    try {
      await this.#registry.create({ session, claim: claimOf(session) });
      this.#noteSuccess();
    } catch (error) {
      // A conflict is an answer, so the registry works.
      const conflict = isConflict(error);
      if (conflict) this.#noteSuccess();
      else this.#noteFailure(error);
      // Race: a late record may still be written. It would hold a claim without a session.
      if (!conflict || refusedBefore) void this.#discard(id);
      throw error;
    }
  }

  async #discard(id: SessionId): Promise<void> {
    try {
      await this.#registry.discard(id);
    } catch {
      this.#undiscarded.add(id);
      this.#retryLater();
    }
  }

  /** Resolves when the session is on disk. Rejects when it cannot be written. */
  async saveDurably(session: Session): Promise<void> {
    try {
      await this.#write(session);
    } catch (error) {
      if (!isConflict(error)) throw error;
      // The last holder has released its claim, and only its record still holds it. Write that record first, then try again.
      await this.flush();
      await this.#write(session);
    }
  }

  async #write(session: Session): Promise<void> {
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, true);
      this.#noteSuccess();
    } catch (error) {
      // A conflict is an answer, so the registry works.
      if (isConflict(error)) this.#noteSuccess();
      else this.#noteFailure(error);
      throw error;
    }
  }

  /** Waits up to `RECORDING.patienceMs` for the record, then continues without it. `current` returns the state for a later try. */
  async saveStep(session: Session, current: () => Session | null): Promise<void> {
    const { name } = session.phase;
    if (name === 'closing' || name === 'ended') failpoint(`${name}.before-record`);
    const saved = this.#save(session, current, true);
    const bound = Promise.withResolvers<void>();
    const cancel = this.#after(RECORDING.patienceMs, bound.resolve);
    await Promise.race([saved, bound.promise]);
    cancel();
    if (name === 'closing' || name === 'ended') failpoint(`${name}.recorded`);
  }

  /** Writes small changes as a batch, so that many errors of a worker do not cause as many writes. */
  saveSoon(id: SessionId, current: () => Session | null): void {
    this.#batch.set(id, current);
    this.#cancelBatch ??= this.#after(RECORDING.gatherMs, () => this.#writeBatch());
  }

  #writeBatch(): void {
    this.#cancelBatch = null;
    const waiting = [...this.#batch];
    this.#batch.clear();
    for (const [, current] of waiting) void this.#saveCurrent(current, false);
  }

  #recordDone(id: SessionId): void {
    const left = (this.#inFlight.get(id) ?? 0) - 1;
    if (left > 0) this.#inFlight.set(id, left);
    else this.#inFlight.delete(id);
  }

  isUnsaved(id: SessionId): boolean {
    return this.#unsaved.has(id) || this.#inFlight.has(id);
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#cancelBatch?.();
  }

  /** Another database has replaced the old one. Writes every session in memory into it. */
  writeAll(lost: DatabaseLoss, all: readonly (readonly [SessionId, () => Session | null])[]): void {
    const { isCopied, ...facts } = lost;
    this.#log.error(
      { ...facts, sessions: all.length },
      isCopied
        ? 'the database file was removed while it was in use: a complete copy was put back; stop the supervisor before you change its files'
        : 'the database was lost: the sessions of this supervisor are written into a new one; ended sessions are only in the old file',
    );
    if (lost.setAside !== null) this.#status = { ...this.#status, setAside: lost.setAside };
    for (const [id, current] of all) this.#unsaved.set(id, current);
    void this.flush();
  }

  /** Tries again to write every session that could not be recorded. */
  async flush(): Promise<void> {
    for (const [id, current] of this.#batch) this.#unsaved.set(id, current);
    this.#batch.clear();
    const waiting = [...this.#unsaved];
    const refused = [...this.#undiscarded];
    this.#undiscarded.clear();
    const freesClaim = ([, current]: (typeof waiting)[number]) => {
      const session = current();
      return session === null || claimOf(session) === null;
    };
    const saveAll = (some: typeof waiting) =>
      Promise.all(
        some.map(([id, current]) => {
          this.#unsaved.delete(id);
          return this.#saveCurrent(current, true);
        }),
      );
    // No other write may be waiting. While the host reports that it is not ready, no new session brings one.
    if (!this.#status.writable) void this.#probe();
    // A room's next session can be recorded only after the record that frees the room's claim.
    await Promise.all([saveAll(waiting.filter(freesClaim)), ...refused.map((id) => this.#discard(id))]);
    await saveAll(waiting.filter((one) => !freesClaim(one)));
  }

  async #probe(): Promise<void> {
    try {
      await this.#registry.probe();
      this.#noteSuccess();
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  async #saveCurrent(current: () => Session | null, durable: boolean): Promise<void> {
    const session = current();
    if (session !== null) await this.#save(session, current, durable);
  }

  /** `isUnsaved` is true until the session is on disk, or waits for a later try. Before that it must not leave memory. */
  async #save(session: Session, current: () => Session | null, durable: boolean): Promise<void> {
    const { id } = session.spec;
    // This record is as new as the one in the batch.
    if (durable) this.#batch.delete(id);
    this.#inFlight.set(id, (this.#inFlight.get(id) ?? 0) + 1);
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, durable);
      this.#noteSuccess();
      this.#recordDone(id);
      this.#onSavedLate(id);
    } catch (error) {
      // A conflict is an answer, so the registry works. The record that frees the claim follows.
      if (!isConflict(error)) this.#noteFailure(error);
      this.#saveLater(id, current);
      this.#recordDone(id);
    }
  }

  #saveLater(id: SessionId, current: () => Session | null): void {
    this.#unsaved.set(id, current);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#closed) return;
    this.#cancelRetry ??= this.#after(RECORDING.retryMs, () => {
      this.#cancelRetry = null;
      void this.flush();
    });
  }

  #after(waitMs: number, callback: () => void): () => void {
    return this.#clock.at(this.#clock.now().bootMs + waitMs, callback);
  }

  #noteSuccess(): void {
    if (this.#status.writable) return;
    this.#status = { ...this.#status, writable: true, error: null };
    this.#log.info({}, 'the registry can be written again');
    // Sessions that wait for their next try need not wait longer.
    void this.flush();
  }

  /** After `close` a write may find the registry closed. The next supervisor learns that change from the worker again. */
  #noteFailure(error: unknown): void {
    if (this.#closed) return;
    const text = messageOf(error);
    if (this.#status.writable)
      this.#log.error({ error: text }, 'the registry cannot be written: calls go on, new ones are refused');
    this.#status = { ...this.#status, writable: false, error: text };
    this.#retryLater();
  }
}

function claimOf(session: Session): ClaimKey | null {
  return allocationOf(session)?.claim ?? null;
}

function isConflict(error: unknown): boolean {
  return error instanceof CurfewError && (error.code === 'room_taken' || error.code === 'id_conflict');
}
