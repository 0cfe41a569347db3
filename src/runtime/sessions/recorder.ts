/** Keeps the registry in step with the sessions: what needs a durable record waits for it, all else goes on and is recorded later. */

import { allocationOf, isUnkillable } from '../../core/admission/allocation.ts';
import type { ClaimKey, SessionId, Stamp } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { isReplacing } from '../../core/model/session.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { RECORDING } from '../../lib/limits/storage-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { DatabaseLoss, Registry } from '../../ports/registry.ts';

export interface RegistryStatus {
  readonly writable: boolean;
  readonly error: string | null;
  /** Where the last damaged database was put; null: there was none since the start. */
  readonly setAside: string | null;
}

/** Whether a change is worth a record, and whether it must survive a power cut. What a restart learns again is not. */
export function recordNeed(before: Session, after: Session, now: Stamp): 'none' | 'soon' | 'durable' {
  if (before.phase !== after.phase && before.phase.name !== after.phase.name) return 'durable';
  if (before.restarts !== after.restarts) return 'durable';
  // The worker that gives way is about to be signalled.
  if (isReplacing(before) !== isReplacing(after)) return 'durable';
  // A worker that nothing killed is gone at last: its claim is free.
  if (isUnkillable(before) !== isUnkillable(after)) return 'durable';
  const changed =
    before.phase !== after.phase || before.errors !== after.errors || before.config !== after.config;
  const learnt =
    before.presence.callersSeen !== after.presence.callersSeen ||
    before.presence.roomSid !== after.presence.roomSid;
  return changed || learnt || isLongerAllowed(before, after, now) ? 'soon' : 'none';
}

/** A restart allows the ordinary silence anew; only what was asked for beyond that would be lost. */
function isLongerAllowed(before: Session, after: Session, now: Stamp): boolean {
  const [beforeMs, afterMs] = [before.vitals.idleAtMs, after.vitals.idleAtMs];
  if (afterMs === null || afterMs === beforeMs) return false;
  return beforeMs === null || afterMs > now.bootMs + after.spec.limits.activityIdleTimeoutMs;
}

export class Recorder {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #unsaved = new Map<SessionId, () => Session | null>();
  /** Sessions that were refused, whose record may have been made all the same. */
  readonly #refused = new Set<SessionId>();
  #status: RegistryStatus = { writable: true, error: null, setAside: null };
  /** How many records of a session are on their way. */
  readonly #underWay = new Map<SessionId, number>();
  readonly #gathered = new Map<SessionId, () => Session | null>();
  #cancelGather: (() => void) | null = null;
  #cancelRetry: (() => void) | null = null;
  #closed = false;

  readonly #onSavedLate: (id: SessionId) => void;

  /** `onSavedLate`: a session that could not be recorded before is on disk now. */
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

  /** The first record of a session. Rejects when it could not be made: then nothing was accepted. */
  async create(session: Session): Promise<void> {
    const { id } = session.spec;
    const refusedBefore = this.#refused.delete(id);
    // Who has given a place up comes before who takes it, or a crash between the two records would let both live.
    if (this.#unsaved.size > 0) void this.flush();
    try {
      await this.#registry.create({ session, claim: claimOf(session) });
      this.#noteSuccess();
    } catch (error) {
      // A conflict is an answer: the registry works.
      const conflict = isConflict(error);
      if (conflict) this.#noteSuccess();
      else this.#noteFailure(error);
      // A record that was only late may still be made, and would hold its claim for nobody.
      if (!conflict || refusedBefore) void this.#discard(id);
      throw error;
    }
  }

  async #discard(id: SessionId): Promise<void> {
    try {
      await this.#registry.discard(id);
    } catch {
      this.#refused.add(id);
      this.#retryLater();
    }
  }

  /** Rejects when it is not on disk. */
  async saveDurably(session: Session): Promise<void> {
    try {
      await this.#write(session);
    } catch (error) {
      if (!isConflict(error)) throw error;
      // The last holder has given its claim up, and only its record has not: that one first, then once more.
      await this.flush();
      await this.#write(session);
    }
  }

  async #write(session: Session): Promise<void> {
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, true);
      this.#noteSuccess();
    } catch (error) {
      // A conflict is an answer: the registry works.
      if (isConflict(error)) this.#noteSuccess();
      else this.#noteFailure(error);
      throw error;
    }
  }

  /** Waits a little for the record, and goes on without one; `current` gives the state to try again with. */
  async saveStep(session: Session, current: () => Session | null): Promise<void> {
    const { name } = session.phase;
    if (name === 'closing' || name === 'ended') failpoint(`${name}.before-record`);
    const saved = this.#save(session, current, true);
    const patience = Promise.withResolvers<void>();
    const cancel = this.#after(RECORDING.patienceMs, patience.resolve);
    await Promise.race([saved, patience.promise]);
    cancel();
    if (name === 'closing' || name === 'ended') failpoint(`${name}.recorded`);
  }

  /** Small changes are gathered, so that a worker's flood of errors is not a flood of writes. */
  saveSoon(id: SessionId, current: () => Session | null): void {
    this.#gathered.set(id, current);
    this.#cancelGather ??= this.#after(RECORDING.gatherMs, () => this.#writeGathered());
  }

  #writeGathered(): void {
    this.#cancelGather = null;
    const waiting = [...this.#gathered];
    this.#gathered.clear();
    for (const [, current] of waiting) void this.#saveAgain(current, false);
  }

  #arrived(id: SessionId): void {
    const left = (this.#underWay.get(id) ?? 0) - 1;
    if (left > 0) this.#underWay.set(id, left);
    else this.#underWay.delete(id);
  }

  isUnsaved(id: SessionId): boolean {
    return this.#unsaved.has(id) || this.#underWay.has(id);
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#cancelGather?.();
  }

  /** Another database is in the place of the old one: everything that is known goes into it. */
  writeAll(lost: DatabaseLoss, all: readonly (readonly [SessionId, () => Session | null])[]): void {
    const { isCopied, ...facts } = lost;
    this.#log.error(
      { ...facts, sessions: all.length },
      isCopied
        ? 'somebody took the database away: it was put back whole; stop the supervisor before you touch its files'
        : 'the database was lost: a new one was made and the sessions of this supervisor are written again; ended ones are only in the old file',
    );
    if (lost.setAside !== null) this.#status = { ...this.#status, setAside: lost.setAside };
    for (const [id, current] of all) this.#unsaved.set(id, current);
    void this.flush();
  }

  /** A last try for everything that could not be recorded. */
  async flush(): Promise<void> {
    for (const [id, current] of this.#gathered) this.#unsaved.set(id, current);
    this.#gathered.clear();
    const waiting = [...this.#unsaved];
    const refused = [...this.#refused];
    this.#refused.clear();
    const givesUp = ([, current]: (typeof waiting)[number]) => {
      const session = current();
      return session === null || claimOf(session) === null;
    };
    const saveAll = (some: typeof waiting) =>
      Promise.all(
        some.map(([id, current]) => {
          this.#unsaved.delete(id);
          return this.#saveAgain(current, true);
        }),
      );
    // Nothing else may be waiting, and nobody is sent to a host that says it is not ready.
    if (!this.#status.writable) void this.#probe();
    // A room's next session can be recorded only when its last one has given the room up.
    await Promise.all([saveAll(waiting.filter(givesUp)), ...refused.map((id) => this.#discard(id))]);
    await saveAll(waiting.filter((one) => !givesUp(one)));
  }

  async #probe(): Promise<void> {
    try {
      await this.#registry.probe();
      this.#noteSuccess();
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  async #saveAgain(current: () => Session | null, durable: boolean): Promise<void> {
    const session = current();
    if (session !== null) await this.#save(session, current, durable);
  }

  /** Until it is on disk or kept for later, the session must not be forgotten. */
  async #save(session: Session, current: () => Session | null, durable: boolean): Promise<void> {
    const { id } = session.spec;
    // This record is as new as what was to be gathered.
    if (durable) this.#gathered.delete(id);
    this.#underWay.set(id, (this.#underWay.get(id) ?? 0) + 1);
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, durable);
      this.#noteSuccess();
      this.#arrived(id);
      this.#onSavedLate(id);
    } catch (error) {
      // A conflict is an answer: the registry works, and the other record is on its way.
      if (!isConflict(error)) this.#noteFailure(error);
      this.#keepForLater(id, current);
      this.#arrived(id);
    }
  }

  #keepForLater(id: SessionId, current: () => Session | null): void {
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
    // What waits for its next try need not wait any longer.
    void this.flush();
  }

  #noteFailure(error: unknown): void {
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
