/** Admission's own mailbox: each question is answered in one step, before anything is awaited. */

import type { CapacityView } from '../api.ts';
import type { Admission, Answer, Grant, Request } from '../core/admission.ts';
import {
  expired,
  newAdmission,
  nextExpiryMs,
  quotaHolders,
  relimit,
  request,
  restore,
  update,
  usedOf,
  withdraw,
} from '../core/admission.ts';
import type { Budget } from '../core/budget.ts';
import { askBudget, NEW_BUDGET } from '../core/budget.ts';
import type { Holding } from '../core/holdings.ts';
import { sameHolding } from '../core/holdings.ts';
import type { SessionId } from '../core/ids.ts';
import type { AdmissionLimits } from '../core/quota.ts';
import { quotaLimit } from '../core/quota.ts';
import type { Clock } from '../ports.ts';

export interface FrontDeskListener {
  granted(grant: Grant): void;
  expired(sessionId: SessionId, detail: string): void;
  wanted(holder: SessionId): void;
  /** What is held or limited has changed. */
  changed(): void;
}

export class FrontDesk {
  #admission: Admission;
  #budget: Budget = NEW_BUDGET;
  #cancelExpiry: (() => void) | null = null;
  readonly #clock: Clock;
  readonly #listener: FrontDeskListener;

  constructor(limits: AdmissionLimits, clock: Clock, listener: FrontDeskListener) {
    this.#admission = newAdmission(limits);
    this.#clock = clock;
    this.#listener = listener;
  }

  request(asked: Request): Answer {
    const { state, answer } = request(this.#admission, asked, this.#nowMs());
    this.#admission = state;
    this.#watchQueue();
    if (answer.kind === 'granted') this.#listener.changed();
    if (answer.kind === 'queued' && answer.wants !== null) this.#listener.wanted(answer.wants);
    return answer;
  }

  /** At a start, before anybody asks. */
  restore(holdings: readonly Holding[]): void {
    this.#admission = restore(this.#admission, holdings);
  }

  /** What the session holds now; null: nothing. */
  update(sessionId: SessionId, holding: Holding | null): void {
    if (sameHolding(this.#admission.holders.get(sessionId), holding)) return;
    this.#apply(update(this.#admission, sessionId, holding, this.#nowMs()));
  }

  withdraw(sessionId: SessionId): void {
    if (!this.isQueued(sessionId)) return;
    this.#apply(withdraw(this.#admission, sessionId, this.#nowMs()));
  }

  relimit(limits: AdmissionLimits): void {
    this.#apply(relimit(this.#admission, limits, this.#nowMs()));
  }

  isQueued(sessionId: SessionId): boolean {
    return this.#admission.queue.some((one) => one.sessionId === sessionId);
  }

  /** Whether an inferred ending may go on now. */
  askBudget(
    sessionId: SessionId,
    asked: { again: boolean; holders: ReadonlyMap<SessionId, Holding> },
  ): boolean {
    const { budget, granted } = askBudget(this.#budget, {
      sessionId,
      ...asked,
      nowMs: this.#nowMs(),
    });
    this.#budget = budget;
    return granted;
  }

  quotas(): CapacityView['quotas'] {
    const names = new Set(['host', ...[...this.#admission.holders].flatMap((one) => one.quotas)]);
    return [...names].flatMap((name) => {
      const limit = quotaLimit(this.#admission.limits, name);
      if (!Number.isFinite(limit)) return [];
      return [
        { name, limit, used: usedOf(this.#admission, name), holders: quotaHolders(this.#admission, name) },
      ];
    });
  }

  queue(): CapacityView['queue'] {
    const { queue, limits } = this.#admission;
    return { length: queue.length, limit: limits.queue, sessions: queue.map((one) => one.sessionId) };
  }

  close(): void {
    this.#cancelExpiry?.();
  }

  #apply(next: { state: Admission; grants: Grant[] }): void {
    this.#admission = next.state;
    this.#watchQueue();
    this.#listener.changed();
    for (const grant of next.grants) this.#listener.granted(grant);
  }

  #watchQueue(): void {
    this.#cancelExpiry?.();
    const dueMs = nextExpiryMs(this.#admission);
    this.#cancelExpiry = dueMs === null ? null : this.#clock.at(dueMs, () => this.#expire());
  }

  #expire(): void {
    for (const late of expired(this.#admission, this.#nowMs())) {
      this.withdraw(late.sessionId);
      this.#listener.expired(late.sessionId, late.detail);
    }
    this.#watchQueue();
  }

  #nowMs(): number {
    return this.#clock.now().bootMs;
  }
}
