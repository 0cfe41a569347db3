/**
 * Admission of sessions: claim, quotas and place in the queue are decided in one step, before anything is awaited.
 * The queue is first come, first served. A session waits only for quotas that it needs, and never behind a closing room.
 */

import type { ClaimKey, SessionId } from '../ids.ts';
import type { Allocation } from './allocation.ts';
import { AllocationTable } from './allocation-table.ts';
import type { HostLoad, HostQuota, HostSample } from './host-load.ts';
import { hostPercent, hostText, isHostQuota, newHostLoad, noteSample } from './host-load.ts';
import type { AdmissionLimits } from './quotas.ts';
import { quotaLimit } from './quotas.ts';

export interface Waiting {
  readonly sessionId: SessionId;
  readonly claim: ClaimKey;
  readonly quotas: readonly string[];
  readonly mayQueue: boolean;
  /** null: the session waits for the claim of a teardown. Every teardown has its bounds, so this wait has no other. */
  readonly expiresMs: number | null;
}

export interface Admission {
  readonly limits: AdmissionLimits;
  readonly holders: AllocationTable;
  readonly queue: readonly Waiting[];
  readonly load: HostLoad;
  /** Theoretical arrival time of the start rate's leaky bucket. */
  readonly startTatMs: number;
}

export interface Request {
  readonly sessionId: SessionId;
  readonly claim: ClaimKey;
  readonly quotas: readonly string[];
  /** false: the session does not wait for a slot. It may wait for the claim of a teardown in any case. */
  readonly mayQueue?: boolean;
  /** A warm worker is reserved. The start rate does not count it. */
  readonly isWarm?: boolean;
}

export type Answer =
  | { readonly kind: 'granted'; readonly startAtMs: number }
  /** `wants`: the closing session that still holds the claim. */
  | { readonly kind: 'queued'; readonly position: number; readonly wants: SessionId | null }
  | { readonly kind: 'taken'; readonly holder: SessionId }
  | {
      readonly kind: 'full';
      readonly quota: string;
      readonly limit: number;
      readonly used: number;
      readonly holders: readonly SessionId[];
    };

export interface Grant {
  readonly sessionId: SessionId;
  readonly startAtMs: number;
}

export function newAdmission(limits: AdmissionLimits, nowMs = 0): Admission {
  return { limits, holders: AllocationTable.of([]), queue: [], load: newHostLoad(nowMs), startTatMs: 0 };
}

export function request(
  state: Admission,
  asked: Request,
  nowMs: number,
): { state: Admission; answer: Answer } {
  const holder = claimHolder(state, asked.claim);
  const waiting = state.queue.find((one) => one.claim === asked.claim);
  const taken = waiting?.sessionId ?? (holder !== null && !holder.closing ? holder.sessionId : null);
  if (taken !== null) return { state, answer: { kind: 'taken', holder: taken } };
  const lacking = firstLacking(state, asked.quotas, queuedNeeds(state));
  if (holder === null && lacking === null) return grant(state, asked, nowMs);
  // A session may always wait for a claim. A redial must not be refused while the last call is in its teardown.
  const noPlace = asked.mayQueue === false || queueLength(state) >= state.limits.queue;
  if (holder === null && lacking !== null && noPlace) return { state, answer: full(state, lacking) };
  const { sessionId, claim, quotas, mayQueue = true } = asked;
  const entry = timed(state, { sessionId, claim, quotas, mayQueue, expiresMs: null }, nowMs);
  const next = { ...state, queue: [...state.queue, entry] };
  return {
    state: next,
    answer: { kind: 'queued', position: next.queue.length, wants: holder?.sessionId ?? null },
  };
}

/** The time in the queue counts from the moment when the claim is free, or is known to stay held. */
function timed(state: Admission, one: Waiting, nowMs: number): Waiting {
  if (one.expiresMs !== null || isGivenUpSoon(state, one.claim)) return one;
  const isHeld = claimHolder(state, one.claim) !== null;
  const waitMs = one.mayQueue || isHeld ? state.limits.queueTimeoutMs : 0;
  return { ...one, expiresMs: nowMs + waitMs };
}

function isGivenUpSoon(state: Admission, claim: ClaimKey): boolean {
  const holder = claimHolder(state, claim);
  return holder !== null && !holder.unkillable;
}

function grant(
  state: Admission,
  { sessionId, claim, quotas, isWarm }: Request,
  nowMs: number,
): { state: Admission; answer: Extract<Answer, { kind: 'granted' }> } {
  const { startAtMs, startTatMs } =
    isWarm === true ? { startAtMs: nowMs, startTatMs: state.startTatMs } : paceStart(state, nowMs);
  const allocation: Allocation = {
    sessionId,
    claim,
    quotas,
    closing: false,
    unkillable: false,
    live: false,
    inferredDueMs: null,
  };
  const holders = state.holders.with(sessionId, allocation);
  return { state: { ...state, holders, startTatMs }, answer: { kind: 'granted', startAtMs } };
}

/** The start rate delays starts and refuses none. The starts of one second may come at once. */
function paceStart(
  { limits, startTatMs }: Admission,
  nowMs: number,
): { startAtMs: number; startTatMs: number } {
  const intervalMs = 1000 / limits.startRatePerSecond;
  const burst = Math.max(1, Math.floor(limits.startRatePerSecond));
  const nextTatMs = Math.max(startTatMs, nowMs) + intervalMs;
  return { startAtMs: Math.max(nowMs, nextTatMs - burst * intervalMs), startTatMs: nextTatMs };
}

/** At a start of the supervisor: the allocations of all earlier sessions. */
export function restore(state: Admission, allocations: readonly Allocation[]): Admission {
  return { ...state, holders: AllocationTable.of(allocations) };
}

/** The allocation of a session has changed; null: it holds nothing, not even a place in the queue. Serves the queue. */
export function update(
  state: Admission,
  sessionId: SessionId,
  allocation: Allocation | null,
  nowMs: number,
): { state: Admission; grants: Grant[] } {
  return serve({ ...state, holders: state.holders.with(sessionId, allocation) }, nowMs);
}

/** New limits. Allocations stay, and the queue is served by the new limits. */
export function relimit(
  state: Admission,
  limits: AdmissionLimits,
  nowMs: number,
): { state: Admission; grants: Grant[] } {
  return serve({ ...state, limits }, nowMs);
}

/** A sample of the host. Serves the queue when the host is free again. */
export function sampled(
  state: Admission,
  sample: HostSample,
  nowMs: number,
): { state: Admission; grants: Grant[] } {
  return serve({ ...state, load: noteSample(state.load, sample, state.limits, nowMs) }, nowMs);
}

/** The host quotas that hold new sessions back. A host without a session always takes one. */
export function hostOverload({ load, holders }: Pick<Admission, 'load' | 'holders'>): readonly HostQuota[] {
  return holders.isEmpty ? [] : load.over;
}

/** The session waits no longer: it was released or has expired. */
export function withdraw(
  state: Admission,
  sessionId: SessionId,
  nowMs: number,
): { state: Admission; grants: Grant[] } {
  return serve({ ...state, queue: state.queue.filter((one) => one.sessionId !== sessionId) }, nowMs);
}

/** Sessions that have waited too long, each with the quota or claim that it waited for. */
export function expired(state: Admission, nowMs: number): { sessionId: SessionId; detail: string }[] {
  return state.queue
    .filter((one) => one.expiresMs !== null && nowMs >= one.expiresMs)
    .map((one) => ({ sessionId: one.sessionId, detail: describeWait(state, one) }));
}

export function nextExpiryMs(state: Admission): number | null {
  const times = state.queue.flatMap((one) => one.expiresMs ?? []);
  return times.length === 0 ? null : Math.min(...times);
}

function describeWait(state: Admission, one: Waiting): string {
  const holder = claimHolder(state, one.claim);
  if (holder !== null) return `the room's last session, ${holder.sessionId}, was still in its teardown`;
  const lacking = firstLacking(state, one.quotas, new Set());
  if (lacking !== null && isHostQuota(lacking))
    return `limits.${hostText(state.load, state.limits, lacking)}`;
  return lacking === null
    ? 'no slot became free in time'
    : `limit ${lacking}: ${usedOf(state, lacking)} of ${quotaLimit(state.limits, lacking)} in use`;
}

function serve(state: Admission, nowMs: number): { state: Admission; grants: Grant[] } {
  const grants: Grant[] = [];
  const blocked = new Set<string>();
  let next = state;
  for (const one of state.queue) {
    if (claimHolder(next, one.claim) !== null) continue;
    const lacking = lackingOf(next, one.quotas, blocked);
    if (lacking.length > 0) {
      for (const name of lacking) blocked.add(name);
      continue;
    }
    const granted = grant(next, { sessionId: one.sessionId, claim: one.claim, quotas: one.quotas }, nowMs);
    next = { ...granted.state, queue: next.queue.filter((other) => other !== one) };
    grants.push({ sessionId: one.sessionId, startAtMs: granted.answer.startAtMs });
  }
  return { state: { ...next, queue: next.queue.map((one) => timed(next, one, nowMs)) }, grants };
}

/** How many sessions wait for a slot. A session that waits for a claim takes no place of the queue. */
function queueLength(state: Admission): number {
  return state.queue.filter((one) => claimHolder(state, one.claim) === null).length;
}

/** Quotas that a session waits for. A new session that needs one of them queues behind it. */
function queuedNeeds(state: Admission): Set<string> {
  const free = state.queue.filter((one) => claimHolder(state, one.claim) === null);
  return new Set(free.flatMap((one) => lackingOf(state, one.quotas, new Set())));
}

function lackingOf(state: Admission, quotas: readonly string[], blocked: ReadonlySet<string>): string[] {
  const lacking = quotas.filter(
    (name) => blocked.has(name) || usedOf(state, name) >= quotaLimit(state.limits, name),
  );
  return [...lacking, ...hostOverload(state)];
}

function firstLacking(
  state: Admission,
  quotas: readonly string[],
  blocked: ReadonlySet<string>,
): string | null {
  return lackingOf(state, quotas, blocked)[0] ?? null;
}

function claimHolder(state: Admission, claim: ClaimKey): Allocation | null {
  return state.holders.filter((one) => one.claim === claim)[0] ?? null;
}

export function usedOf(state: Admission, quota: string): number {
  return quotaHolders(state, quota).length;
}

export function quotaHolders(state: Admission, quota: string): SessionId[] {
  return state.holders.filter((one) => one.quotas.includes(quota)).map((one) => one.sessionId);
}

function full(state: Admission, quota: string): Answer {
  if (isHostQuota(quota))
    return { kind: 'full', quota, ...hostPercent(state.load, state.limits, quota), holders: [] };
  const holders = quotaHolders(state, quota);
  return { kind: 'full', quota, limit: quotaLimit(state.limits, quota), used: holders.length, holders };
}
