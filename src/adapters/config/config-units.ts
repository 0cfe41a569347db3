/** Parsers of values with units: `2h`, `512MiB`, `100%`, `10/s`. Each error names the accepted form. */
import { z } from 'zod';
import { readDuration, writeDuration } from '../../lib/durations.ts';

const BYTE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

function withUnit(what: string, read: (text: string) => number | null) {
  return z.union([z.string(), z.number()], { error: what }).transform((given, context) => {
    const value = typeof given === 'string' ? read(given) : null;
    if (value !== null && Number.isFinite(value)) return value;
    context.addIssue({ code: 'custom', message: what, input: given });
    return z.NEVER;
  });
}

/** The range is `[least, most]` in milliseconds, and so is the result. */
export function duration([least, most]: readonly [number, number]) {
  const range = `from ${writeDuration(least)} to ${writeDuration(most)}`;
  return withUnit(`must be a duration with a unit, such as 120s, ${range}`, readDuration).refine(
    (value) => value >= least && value <= most,
    {
      error: `must be ${range}`,
    },
  );
}

export function durationOrOff(range: readonly [number, number]) {
  return z.union(
    [z.literal('off').transform(() => null), z.literal(false).transform(() => null), duration(range)],
    {
      error: `must be off or a duration with a unit, such as 15m, from ${writeDuration(range[0])} to ${writeDuration(range[1])}`,
    },
  );
}

export function durationOrAuto(range: readonly [number, number]) {
  return z.union([z.literal('auto'), duration(range)], {
    error: `must be auto or a duration with a unit, such as 5s, from ${writeDuration(range[0])} to ${writeDuration(range[1])}`,
  });
}

export const bytes = withUnit('must be a size with a unit, such as 512MiB or 2GiB', (text) => {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim());
  const unit =
    match?.[2] === undefined || !Object.hasOwn(BYTE_UNITS, match[2]) ? undefined : BYTE_UNITS[match[2]];
  const found = Math.round(Number(match?.[1]) * (unit ?? 0));
  return found > 0 ? found : null;
});

export const percent = withUnit('must be a share of one core, such as 100%', (text) => {
  const match = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim());
  return match === null || Number(match[1]) === 0 ? null : Number(match[1]);
});

/** A share from 0 to 1. null: off. */
export const hostShareOrOff = z.union(
  [
    z.literal('off').transform(() => null),
    z.literal(false).transform(() => null),
    percent.refine((value) => value <= 100).transform((value) => value / 100),
  ],
  { error: 'must be off or a share of the host, such as 80%, up to 100%' },
);

const PER_SECONDS: Readonly<Record<string, number>> = { s: 1, min: 60, h: 3600 };

/** Starts per second. */
export const rate = withUnit('must be a rate, such as 10/s or 600/min', (text) => {
  const match = /^(\d+(?:\.\d+)?)\s*\/\s*(s|min|h)$/.exec(text.trim());
  const perSeconds = match?.[2] === undefined ? undefined : PER_SECONDS[match[2]];
  const count = Number(match?.[1] ?? 0);
  return perSeconds === undefined || count === 0 ? null : count / perSeconds;
});
