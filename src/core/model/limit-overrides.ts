/** The limits of a dispatch, which override those of its agent. */
import { CurfewError } from '../../lib/errors.ts';
import type { LimitName, SessionLimits } from '../../lib/limits/session-limits.ts';
import { LIMIT_RANGES } from '../../lib/limits/session-limits.ts';

export type Overrides = { readonly [K in LimitName]?: SessionLimits[K] | undefined };

/** Throws invalid_request with the limit and its range. The agent's own maximum duration is the longest one. */
export function effectiveLimits(limits: SessionLimits, overrides: Overrides): SessionLimits {
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) check(name as LimitName, value ?? null, limits);
  const { phonesLeftMs, ...common } = limits;
  // The dispatch names one grace for every caller, phones too.
  const isGraceByKind = phonesLeftMs !== undefined && overrides.callersLeftMs === undefined;
  return { ...common, ...(isGraceByKind && { phonesLeftMs }), ...Object.fromEntries(given) };
}

function check(name: LimitName, value: number | null, limits: SessionLimits): void {
  const [least, most] = LIMIT_RANGES[name];
  const highest = name === 'maxDurationMs' ? Math.min(most, limits.maxDurationMs) : most;
  if (value === null || (value >= least && value <= highest)) return;
  throw new CurfewError(
    'invalid_request',
    `limits.${name}: ${value} is out of its range, ${least} to ${highest}`,
    { field: `limits.${name}`, least, most: highest },
  );
}
