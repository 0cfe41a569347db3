/** Keeps the registry in step with the sessions: what needs a durable record waits for it, all else goes on and is recorded later. */

import { holdingOf } from '../core/holdings.ts';
import type { ClaimKey, SessionId } from '../core/ids.ts';
import type { Session } from '../core/session.ts';
import { messageOf } from '../errors.ts';
import { RECORDING } from '../limits.ts';
import type { Log, Registry } from '../ports.ts';

export interface RegistryStatus {
  readonly writable: boolean;
  readonly error: string | null;
}

/** Whether a change is worth a record, and whether it must survive a power cut. What a restart learns again is not. */
export function recordNeed(before: Session, after: Session): 'none' | 'soon' | 'durable' {
  if (before.phase !== after.phase && before.phase.name !== after.phase.name) return 'durable';
  if (before.restarts !== after.restarts) return 'durable';
  const changed =
    before.phase !== after.phase || before.errors !== after.errors || before.config !== after.config;
  const learnt =
    before.presence.callersSeen !== after.presence.callersSeen ||
    before.presence.roomSid !== after.presence.roomSid;
  return changed || learnt ? 'soon' : 'none';
}

export class Recorder {
  readonly #registry: Registry;
  readonly #log: Log;
  readonly #unsaved = new Map<SessionId, () => Session | null>();
  #status: RegistryStatus = { writable: true, error: null };
  readonly #gathered = new Map<SessionId, () => Session | null>();
  #gather: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  readonly #onSavedLate: (id: SessionId) => void;

  /** `onSavedLate`: a session that could not be recorded before is on disk now. */
  constructor(registry: Registry, log: Log, onSavedLate: (id: SessionId) => void) {
    this.#registry = registry;
    this.#log = log;
    this.#onSavedLate = onSavedLate;
  }

  get status(): RegistryStatus {
    return this.#status;
  }

  /** The first record of a session. Rejects when it could not be made: then nothing was accepted. */
  async create(session: Session): Promise<void> {
    try {
      await this.#registry.create({ session, claim: claimOf(session) });
      this.#noteSuccess();
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
  }

  /** Rejects when it is not on disk. */
  async saveDurably(session: Session): Promise<void> {
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, true);
      this.#noteSuccess();
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
  }

  /** Waits a little for the record, and goes on without one; `current` gives the state to try again with. */
  async saveStep(session: Session, current: () => Session | null): Promise<void> {
    const { id } = session.spec;
    const saved = this.#registry.save({ session, claim: claimOf(session) }, true).then(
      () => this.#noteSuccess(),
      (error: unknown) => {
        this.#noteFailure(error);
        this.#keepForLater(id, current);
      },
    );
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, RECORDING.patienceMs);
    });
    await Promise.race([saved, patience]);
    clearTimeout(timer);
  }

  /** Small changes are gathered, so that a worker's flood of errors is not a flood of writes. */
  saveSoon(id: SessionId, current: () => Session | null): void {
    this.#gathered.set(id, current);
    this.#gather ??= setTimeout(() => this.#writeGathered(), RECORDING.gatherMs);
  }

  #writeGathered(): void {
    this.#gather = null;
    const waiting = [...this.#gathered];
    this.#gathered.clear();
    for (const [id, current] of waiting) void this.#saveAgain(id, current, false);
  }

  isUnsaved(id: SessionId): boolean {
    return this.#unsaved.has(id);
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (this.#gather !== null) clearTimeout(this.#gather);
  }

  /** A last try for everything that could not be recorded. */
  async flush(): Promise<void> {
    const waiting = [...this.#unsaved, ...this.#gathered];
    this.#unsaved.clear();
    this.#gathered.clear();
    await Promise.all(waiting.map(([id, current]) => this.#saveAgain(id, current, true)));
  }

  async #saveAgain(id: SessionId, current: () => Session | null, durable: boolean): Promise<void> {
    const session = current();
    if (session === null) return;
    try {
      await this.#registry.save({ session, claim: claimOf(session) }, durable);
      this.#noteSuccess();
      this.#onSavedLate(id);
    } catch (error) {
      this.#noteFailure(error);
      this.#keepForLater(id, current);
    }
  }

  #keepForLater(id: SessionId, current: () => Session | null): void {
    this.#unsaved.set(id, current);
    if (this.#closed) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      void this.flush();
    }, RECORDING.retryMs);
  }

  #noteSuccess(): void {
    if (!this.#status.writable) this.#log.info({}, 'the registry can be written again');
    this.#status = { writable: true, error: null };
  }

  #noteFailure(error: unknown): void {
    const text = messageOf(error);
    if (this.#status.writable)
      this.#log.error({ error: text }, 'the registry cannot be written: calls go on, new ones are refused');
    this.#status = { writable: false, error: text };
  }
}

function claimOf(session: Session): ClaimKey | null {
  return holdingOf(session)?.claim ?? null;
}
