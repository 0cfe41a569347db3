/** A drain: the supervisor accepts no new session, its calls continue, and it stops after the last one. A drain survives a crash, and can be undone. */
import type { DrainView } from '../api/host-schemas.ts';
import type { Actor } from '../core/model/session.ts';
import type { Clock } from '../ports/clock.ts';
import type { DrainRecord, DrainStore } from '../ports/drain-store.ts';
import type { Log } from '../ports/log.ts';

interface DrainDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: DrainStore;
  readonly bootId: string;
  /** How many sessions have not ended. */
  readonly open: () => number;
}

export class Drain {
  readonly #deps: DrainDeps;
  #record: DrainRecord | null = null;
  #cancel: () => void = () => undefined;
  readonly #over = Promise.withResolvers<Actor>();
  #isOver = false;

  constructor(deps: DrainDeps) {
    this.#deps = deps;
  }

  /** Resolves once, with the actor of the drain, when the last session has ended or the drain's time is over. Not after an undo. */
  get over(): Promise<Actor> {
    return this.#over.promise;
  }

  get view(): DrainView | null {
    const record = this.#record;
    if (record === null) return null;
    const { at, by, untilMs } = record;
    const leftMs = untilMs === null ? null : Math.max(0, Math.ceil(untilMs - this.#deps.clock.now().bootMs));
    return {
      since: new Date(at.wallMs).toISOString(),
      by: `${by.kind} ${by.name}`,
      leftMs,
      open: this.#deps.open(),
    };
  }

  /** Continues the drain of an earlier supervisor. A drain of another boot has no session left, so its file is removed. */
  restore(): void {
    const { store, bootId, log } = this.#deps;
    const found = store.read();
    if (found === null) return;
    if (found.bootId !== bootId) {
      store.clear();
      return;
    }
    log.warn(
      { by: found.by.name },
      'the drain of the earlier supervisor continues: no new sessions are accepted',
    );
    this.#enter(found);
  }

  /** A second drain only changes the time. */
  begin(by: Actor, timeoutMs: number | null): void {
    const { clock, store, bootId, log } = this.#deps;
    const at = clock.now();
    const untilMs = timeoutMs === null ? null : at.bootMs + timeoutMs;
    const record: DrainRecord = { by, at: this.#record?.at ?? at, untilMs, bootId };
    store.write(record);
    log.warn({ by: by.name, timeoutMs, open: this.#deps.open() }, 'draining: no new sessions are accepted');
    this.#enter(record);
  }

  /** Without a drain nothing changes. */
  undo(): void {
    if (this.#record === null) return;
    this.#cancel();
    this.#record = null;
    this.#deps.store.clear();
    this.#deps.log.warn({}, 'the drain was undone: new sessions are accepted again');
  }

  /** Every session was released, so the next start accepts sessions again. Called only now: after a crash before this point the drain continues. */
  stopped(): void {
    if (this.#isOver) this.#deps.store.clear();
  }

  /** Called after every change of a session. */
  finishIfEmpty(): void {
    if (this.#record !== null && this.#deps.open() === 0) this.#finish();
  }

  #enter(record: DrainRecord): void {
    this.#cancel();
    this.#record = record;
    if (record.untilMs !== null) this.#cancel = this.#deps.clock.at(record.untilMs, () => this.#finish());
    this.finishIfEmpty();
  }

  #finish(): void {
    if (this.#record === null) return;
    this.#cancel();
    this.#isOver = true;
    this.#over.resolve(this.#record.by);
  }
}
