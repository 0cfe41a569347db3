/** The mailboxes of all sessions in memory. The host decides nothing. Its one collaborator settles the steps. */
import type { SessionId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { Session } from '../../core/model/session.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Transition } from './mailbox.ts';
import { Mailbox } from './mailbox.ts';

export interface SessionHostOptions {
  readonly clock: Clock;
  /** Records a step and starts its effects. Must not reject. */
  readonly settle: (step: Transition) => Promise<void>;
  /** Every event of this session that was posted so far is handled. */
  readonly idle: (session: Session) => void;
  /** An event of the session could not be handled. */
  readonly failed: (id: SessionId, error: unknown) => void;
  /** Called before each post, so that a gap in time is known first. */
  readonly beforePost: () => void;
}

export class SessionHost {
  readonly #options: SessionHostOptions;
  readonly #mailboxes = new Map<SessionId, Mailbox>();
  readonly #callbacks = new Set<() => void>();

  constructor(options: SessionHostOptions) {
    this.#options = options;
  }

  /** From now on the session takes events. `first` comes before all others. */
  open(session: Session, first?: SessionEvent): void {
    const { clock, settle } = this.#options;
    const mailbox: Mailbox = new Mailbox(session, {
      now: () => clock.now(),
      settle,
      idle: (state) => this.#idle(state, mailbox),
      failed: this.#options.failed,
    });
    this.#mailboxes.set(session.spec.id, mailbox);
    if (first !== undefined) mailbox.post(first);
  }

  /** Takes no more events of the session, drops those that wait, and forgets the session. */
  close(id: SessionId): void {
    this.#mailboxes.get(id)?.close();
    this.#mailboxes.delete(id);
  }

  /** null: the session is not in memory. */
  state(id: SessionId): Session | null {
    return this.#mailboxes.get(id)?.state ?? null;
  }

  all(): Session[] {
    return [...this.#mailboxes.values()].map((mailbox) => mailbox.state);
  }

  /** Resolves when every event of the session is handled. */
  async idle(id: SessionId): Promise<void> {
    await this.#mailboxes.get(id)?.idle();
  }

  /** An event for a session that is not in memory is dropped. */
  post(id: SessionId, event: SessionEvent): void {
    const mailbox = this.#mailboxes.get(id);
    if (mailbox === undefined) return;
    this.#options.beforePost();
    mailbox.post(event);
  }

  /** Puts the event before all that wait in the session's mailbox. */
  postFirst(id: SessionId, event: SessionEvent): void {
    this.#mailboxes.get(id)?.postFirst(event);
  }

  postAll(event: SessionEvent): void {
    for (const id of this.#mailboxes.keys()) this.post(id, event);
  }

  /** Puts the event before all that wait in each mailbox. */
  postFirstToAll(event: SessionEvent): void {
    for (const mailbox of this.#mailboxes.values()) mailbox.postFirst(event);
  }

  /** Calls back after every change of a session, until the returned function is called. */
  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  #idle(session: Session, mailbox: Mailbox): void {
    // Race: the session was closed while its last event was settled. Its id may belong to a new session by now.
    if (this.#mailboxes.get(session.spec.id) === mailbox) this.#options.idle(session);
    for (const callback of this.#callbacks) callback();
  }
}
