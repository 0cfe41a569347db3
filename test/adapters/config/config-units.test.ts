/** Properties of values with units, checked with random values. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, duration, durationOrOff, percent, rate } from '../../../src/adapters/config/config-units.ts';
import { readDuration, writeDuration } from '../../../src/lib/durations.ts';

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZES = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;
const unitOf = <T extends object>(units: T) =>
  fc.constantFrom(...(Object.entries(units) as [string, number][]));

describe('a duration', () => {
  it('survives being written and read again', () => {
    fc.assert(fc.property(fc.nat(), (durationMs) => readDuration(writeDuration(durationMs)) === durationMs));
  });

  it('is the sum of its parts, each in its own unit', () => {
    const part = fc.tuple(fc.nat(10_000), unitOf(UNITS));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const text = parts.map(([count, [unit]]) => `${count}${unit}`).join('');
        expect(readDuration(text)).toBe(parts.reduce((sum, [count, [, size]]) => sum + count * size, 0));
      }),
    );
  });

  it('is accepted within its range, both ends included', () => {
    const schema = duration([30_000, 3_599_000]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000 }), (durationMs) => {
        const isAllowed = durationMs >= 30_000 && durationMs <= 3_599_000;
        expect(schema.safeParse(`${durationMs}ms`).success).toBe(isAllowed);
      }),
      { examples: [[30_000], [29_999], [3_599_000], [3_599_001]] },
    );
  });

  it('is refused without an exception when it is a bare number or nonsense', () => {
    const schema = durationOrOff([0, Number.MAX_SAFE_INTEGER]);
    fc.assert(fc.property(fc.double(), (value) => !schema.safeParse(value).success));
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const { success, data } = schema.safeParse(value);
        return !success || data === null || Number.isFinite(data);
      }),
    );
    expect(schema.parse('off')).toBeNull();
    expect(schema.parse(false)).toBeNull();
    for (const text of ['', ' ', '-1s', '1 s s', '1e3s', '1', 's', '١s', '1S'])
      expect(schema.safeParse(text).success, text).toBe(false);
  });
});

describe('a size, a share or a rate', () => {
  it('is counted in its unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9999 }), unitOf(SIZES), (count, [unit, size]) => {
        expect(bytes.parse(`${count}${unit}`)).toBe(count * size);
        expect(bytes.parse(`${count} ${unit}`)).toBe(count * size);
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9999 }), (count) => percent.parse(`${count}%`) === count),
    );
    expect(rate.parse('600/min')).toBe(10);
    expect(rate.parse('10 / s')).toBe(10);
    expect(rate.parse('36000/h')).toBe(10);
  });

  it.each([
    ['size', bytes],
    ['share', percent],
    ['rate', rate],
  ])('is refused when it is zero, a bare number or nonsense: %s', (_what, schema) => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        const { success, data } = schema.safeParse(value);
        return !success || (Number.isFinite(data) && data > 0);
      }),
    );
    for (const text of ['0B', '0%', '0/s', '5', 'toString', '1toString', '1/constructor', '', '%', '/s'])
      expect(schema.safeParse(text).success, text).toBe(false);
    expect(schema.safeParse(5).success).toBe(false);
  });
});
