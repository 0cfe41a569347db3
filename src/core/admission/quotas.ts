/** All limits are named quotas. A session takes all of its quotas or none, and a refusal names the quota. */
import type { SessionSpec } from '../model/session.ts';
import type { HostLimits } from './host-load.ts';

export interface AdmissionLimits extends HostLimits {
  readonly sessions: number;
  /** null: no limit per user. */
  readonly perUser: number | null;
  readonly perAgent: Readonly<Record<string, number>>;
  readonly startRatePerSecond: number;
  readonly queue: number;
  readonly queueTimeoutMs: number;
}

/** `host`, `agent:A`, and `user:U` where a user was named. */
export function quotasOf(spec: Pick<SessionSpec, 'profile' | 'user'>): string[] {
  const user = spec.user === null ? [] : [`user:${spec.user}`];
  return ['host', `agent:${spec.profile.agent}`, ...user];
}

export function quotaLimit(limits: AdmissionLimits, name: string): number {
  if (name === 'host') return limits.sessions;
  if (name.startsWith('user:')) return limits.perUser ?? Number.POSITIVE_INFINITY;
  return Object.hasOwn(limits.perAgent, name.slice('agent:'.length))
    ? (limits.perAgent[name.slice('agent:'.length)] ?? 0)
    : Number.POSITIVE_INFINITY;
}
