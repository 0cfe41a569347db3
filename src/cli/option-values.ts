/** Values of options. Each error names the option, the value, and a valid form. */
import type { LimitOverrides } from '../api/session-schemas.ts';
import { readDuration, writeDuration } from '../lib/durations.ts';
import type { CurfewError } from '../lib/errors.ts';
import { LIMIT_RANGES } from '../lib/limits/session-limits.ts';
import { usage } from './usage-errors.ts';

export interface LimitOptions {
  readonly maxDuration?: string;
  readonly idleTimeout?: string;
  readonly noActiveStream?: string;
  readonly startTimeout?: string;
  readonly noCaller?: string;
  readonly callersLost?: string;
  readonly callersLeft?: string;
  readonly errorLimit?: string;
}

type Range = readonly [least: number, most: number];

const FREE: Range = [0, Number.MAX_SAFE_INTEGER];

function invalid(option: string, value: string, problem: string): CurfewError {
  return usage(`${option}: "${value}" ${problem}`);
}

/** Milliseconds. Throws `invalid_request`. */
export function durationOption(option: string, text: string, [least, most] = FREE): number {
  const durationMs = readDuration(text);
  if (durationMs === null)
    throw invalid(option, text, 'is not a duration with a unit, such as 90s, 10m or 2h');
  if (durationMs >= least && durationMs <= most) return durationMs;
  throw invalid(option, text, `must be from ${writeDuration(least)} to ${writeDuration(most)}`);
}

/** A whole number. Throws `invalid_request`. */
export function countOption(option: string, text: string, [least, most]: Range): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
  throw invalid(option, text, `must be a whole number from ${least} to ${most}`);
}

/** Only the limits that were given. Throws `invalid_request`. */
export function readLimits(options: LimitOptions): LimitOverrides {
  const duration = (key: Exclude<keyof LimitOverrides, 'errorLimit'>, option: string, text?: string) =>
    text === undefined ? undefined : durationOption(option, text, LIMIT_RANGES[key]);
  const { errorLimit, noActiveStream } = options;
  const given = {
    maxDurationMs: duration('maxDurationMs', '--max-duration', options.maxDuration),
    activityIdleTimeoutMs: duration('activityIdleTimeoutMs', '--idle-timeout', options.idleTimeout),
    noActiveStreamMs:
      noActiveStream === 'off' ? null : duration('noActiveStreamMs', '--no-active-stream', noActiveStream),
    startTimeoutMs: duration('startTimeoutMs', '--start-timeout', options.startTimeout),
    noCallerMs: duration('noCallerMs', '--no-caller', options.noCaller),
    callersLostMs: duration('callersLostMs', '--callers-lost', options.callersLost),
    callersLeftMs: duration('callersLeftMs', '--callers-left', options.callersLeft),
    errorLimit:
      errorLimit === undefined
        ? undefined
        : countOption('--error-limit', errorLimit, LIMIT_RANGES.errorLimit),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

export function readMetadata(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === 'object' && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // The error below covers this case too.
  }
  throw usage('--metadata: the value must be a JSON object, such as \'{"lang":"de"}\'');
}

export function readLabels(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw invalid('--label', pair, 'is not of the form key=value');
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
