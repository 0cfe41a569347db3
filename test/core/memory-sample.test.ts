import { describe, expect, it } from 'vitest';
import type { PssAnswer } from '../../src/core/memory-sample.ts';
import { totalMemory } from '../../src/core/memory-sample.ts';

const MIB = 1024 ** 2;
const LIMIT = 600 * MIB;

/** Resident sizes and answers in MiB. */
function total(...processes: readonly (readonly [number, PssAnswer])[]) {
  const bytes = (pss: PssAnswer) => (typeof pss === 'number' ? pss * MIB : pss);
  const sample = totalMemory(
    processes.map(([rss, pss]) => ({ rssBytes: rss * MIB, pss: bytes(pss) })),
    LIMIT,
  );
  return sample === null ? null : [sample.bytes / MIB, sample.measure];
}

describe('the memory of a worker near its limit', () => {
  it('is the sum of the proportional set sizes', () => {
    expect(total([500, 100], [500, 63], [40, 'gone'])).toEqual([163, 'pss']);
  });

  it('counts the resident memory of a process that curfew may not read', () => {
    expect(total([500, 100], [550, 'unreadable'])).toEqual([650, 'pss_partly']);
    expect(total([500, 'unreadable'], [508, 'unreadable'])).toEqual([1008, 'rss']);
  });

  it('is not known while an unanswered process decides about the limit', () => {
    expect(total([504, 'unknown'], [504, 'unknown'])).toBeNull();
    expect(total([504, 100], [504, 'unknown'])).toBeNull();
  });

  it('is known while no unanswered process decides about the limit', () => {
    expect(total([700, 650], [300, 'unknown'])).toEqual([650, 'pss_partly']);
    expect(total([500, 100], [450, 'unknown'])).toEqual([550, 'pss_partly']);
  });
});
