/** Admission as one object with timers. Each request is answered in one step, before anything is awaited. */

import type { CapacityView } from '../../api/host-schemas.ts';
import type { Admission, Answer, Grant, Request } from '../../core/admission/admission.ts';
import {
  expired,
  hostOverload,
  newAdmission,
  nextExpiryMs,
  quotaHolders,
  relimit,
  request,
  restore,
  sampled,
  update,
  usedOf,
  withdraw,
} from '../../core/admission/admission.ts';
import type { Allocation } from '../../core/admission/allocation.ts';
import { sameAllocation } from '../../core/admission/allocation.ts';
import type { HostQuota, HostSample } from '../../core/admission/host-load.ts';
import { hostPercent } from '../../core/admission/host-load.ts';
import type { Budget } from '../../core/admission/mass-end-breaker.ts';
import { askBudget, NEW_BUDGET } from '../../core/admission/mass-end-breaker.ts';
import type { AdmissionLimits } from '../../core/admission/quotas.ts';
import { quotaLimit } from '../../core/admission/quotas.ts';
import type { SessionId } from '../../core/ids.ts';
import type { Clock } from '../../ports/clock.ts';

export interface AdmissionGateListener {
  granted(grant: Grant): void;
  expired(sessionId: SessionId, detail: string): void;
  wanted(holder: SessionId): void;
}

export class AdmissionGate {
  #admission: Admission;
  #budget: Budget = NEW_BUDGET;
  #cancelExpiry: (() => void) | null = null;
  readonly #clock: Clock;
  readonly #listener: AdmissionGateListener;
  #changed: () => void = () => undefined;

  constructor(limits: AdmissionLimits, clock: Clock, listener: AdmissionGateListener) {
    this.#admission = newAdmission(limits, clock.now().bootMs);
    this.#clock = clock;
    this.#listener = listener;
  }

  /** Calls back whenever an allocation or a limit has changed. */
  onChange(callback: () => void): void {
    this.#changed = callback;
  }

  request(asked: Request): Answer {
    const { state, answer } = request(this.#admission, asked, this.#nowMs());
    this.#admission = state;
    this.#watchQueue();
    if (answer.kind === 'granted') this.#changed();
    if (answer.kind === 'queued' && answer.wants !== null) this.#listener.wanted(answer.wants);
    return answer;
  }

  /** Called at a start, before the first request. */
  restore(allocations: readonly Allocation[]): void {
    this.#admission = restore(this.#admission, allocations);
  }

  /** Sets the session's allocation; null: the session holds no claim and no slot. */
  update(sessionId: SessionId, allocation: Allocation | null): void {
    if (sameAllocation(this.#admission.holders.get(sessionId), allocation)) return;
    this.#apply(update(this.#admission, sessionId, allocation, this.#nowMs()));
  }

  withdraw(sessionId: SessionId): void {
    if (!this.isQueued(sessionId)) return;
    this.#apply(withdraw(this.#admission, sessionId, this.#nowMs()));
  }

  relimit(limits: AdmissionLimits): void {
    this.#apply(relimit(this.#admission, limits, this.#nowMs()));
  }

  /** A sample of the host's load. The listener hears only of a change. */
  sampled(sample: HostSample): void {
    const before = this.#admission.load.over;
    const next = sampled(this.#admission, sample, this.#nowMs());
    const { over } = next.state.load;
    if (over.join() === before.join() && next.grants.length === 0) this.#admission = next.state;
    else this.#apply(next);
  }

  /** The host quotas that hold new sessions back now. */
  overload(): readonly HostQuota[] {
    return hostOverload(this.#admission);
  }

  load(): CapacityView['load'] {
    const { load, limits } = this.#admission;
    const [cpu, free] = [hostPercent(load, limits, 'cpu'), hostPercent(load, limits, 'memory_free')];
    return {
      cpuPercent: cpu.used,
      cpuLimitPercent: limits.cpu == null ? null : cpu.limit,
      memoryFreePercent: load.memoryFree === null ? null : free.used,
      memoryFreeLimitPercent: limits.memoryFree == null ? null : free.limit,
      over: [...load.over],
    };
  }

  isQueued(sessionId: SessionId): boolean {
    return this.#admission.queue.some((one) => one.sessionId === sessionId);
  }

  /** Whether an inferred ending may go on now. */
  askBudget(
    sessionId: SessionId,
    asked: { again: boolean; holders: ReadonlyMap<SessionId, Allocation> },
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
    this.#changed();
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
