/** Option values as people type them. Each error names the option, the value and what it takes. */
import type { LimitOverrides } from '../api.ts';
import { readDuration } from '../durations.ts';
import { CurfewError } from '../errors.ts';

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

function invalid(option: string, value: string, takes: string): CurfewError {
  return new CurfewError('invalid_request', `${option}: "${value}" ${takes}`);
}

export function durationOption(option: string, text: string): number {
  const durationMs = readDuration(text);
  if (durationMs === null)
    throw invalid(option, text, 'is not a duration with a unit, such as 90s, 10m or 2h');
  return durationMs;
}

export function readLimits(options: LimitOptions): LimitOverrides {
  const duration = (option: string, text: string | undefined) =>
    text === undefined ? undefined : durationOption(option, text);
  const given = {
    maxDurationMs: duration('--max-duration', options.maxDuration),
    activityIdleTimeoutMs: duration('--idle-timeout', options.idleTimeout),
    noActiveStreamMs:
      options.noActiveStream === 'off' ? null : duration('--no-active-stream', options.noActiveStream),
    startTimeoutMs: duration('--start-timeout', options.startTimeout),
    noCallerMs: duration('--no-caller', options.noCaller),
    callersLostMs: duration('--callers-lost', options.callersLost),
    callersLeftMs: duration('--callers-left', options.callersLeft),
    errorLimit: options.errorLimit === undefined ? undefined : readCount('--error-limit', options.errorLimit),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function readCount(option: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw invalid(option, text, 'is not a whole number');
}

export function readMetadata(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === 'object' && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Said below, for both.
  }
  throw new CurfewError('invalid_request', '--metadata: must be a JSON object, such as \'{"lang":"de"}\'');
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
