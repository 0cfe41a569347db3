/** One session's mailbox. It handles events one after the other: each is decided and recorded, and its effects are started, before the next. */

import type { SessionId, Stamp } from '../../core/ids.ts';
import type { Effect } from '../../core/model/effects.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import { decide } from '../../core/session/decide.ts';

export interface Transition {
  readonly before: Session;
  readonly after: Session;
  readonly effects: readonly Effect[];
  /** The time of the decision. */
  readonly now: Stamp;
}

export interface MailboxHost {
  now(): Stamp;
  /** Records the decision and starts its effects. Must not reject. */
  settle(step: Transition): Promise<void> | void;
  /** Every posted event is handled. */
  idle(session: Session): void;
  /** An event could not be handled. */
  failed(id: SessionId, error: unknown): void;
}

export class Mailbox {
  #state: Session;
  #queue: SessionEvent[] = [];
  #draining = false;
  #drained = Promise.withResolvers<void>();
  readonly #host: MailboxHost;

  constructor(state: Session, host: MailboxHost) {
    this.#state = state;
    this.#host = host;
  }

  get state(): Session {
    return this.#state;
  }

  /** Resolves when every posted event is handled. */
  async idle(): Promise<void> {
    while (this.#draining) await this.#drained.promise;
  }

  post(event: SessionEvent): void {
    this.#queue.push(event);
    void this.#drain();
  }

  /** Puts the event before all that wait: a gap in time must be known before the events that it delayed are decided. */
  postFirst(event: SessionEvent): void {
    this.#queue.unshift(event);
    void this.#drain();
  }

  /** Drops every event that waits. The event in progress is still settled. */
  close(): void {
    this.#queue = [];
  }

  async #drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    this.#drained = Promise.withResolvers();
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) {
      await this.#handle(event);
    }
    this.#draining = false;
    this.#drained.resolve();
    this.#host.idle(this.#state);
  }

  /** A fault in one event does not stop the session's other events. */
  async #handle(event: SessionEvent): Promise<void> {
    try {
      const before = this.#state;
      const now = this.#host.now();
      const { state, effects } = decide(before, event, now);
      this.#state = state;
      const settling = this.#host.settle({ before, after: state, effects, now });
      if (settling !== undefined) await settling;
    } catch (error) {
      this.#host.failed(this.#state.spec.id, error);
    }
  }
}
