/** Compares docs/reference/errors.md with the tables in the code, in both directions. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exitCodeOf, exitCodeOfWait } from '../../src/cli/exit-codes.ts';
import { FAILED_REASONS, RELEASED_REASONS } from '../../src/core/model/reasons.ts';
import { ERRORS } from '../../src/lib/errors.ts';

const TEXT = readFileSync(join(import.meta.dirname, '../../docs/reference/errors.md'), 'utf8');

/** The body of the table below a heading, a list of cells per row. */
function tableUnder(heading: string): string[][] {
  const section = TEXT.split(/^## /m).find((one) => one.startsWith(heading)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| '));
  return rows.slice(2).map((row) =>
    row
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.trim()),
  );
}

describe('docs/reference/errors.md', () => {
  it('docs/reference/errors.md has exactly the errors of the code, with status, exit code, meaning and advice', () => {
    const expected = Object.entries(ERRORS).map(([code, { status, exit, title, hint }]) => [
      `\`${code}\``,
      String(status),
      String(exit),
      title,
      hint,
    ]);
    expect(tableUnder('Codes')).toEqual(expected);
  });

  it('docs/reference/errors.md has exactly the exit codes of `curfew run`', () => {
    const expected = FAILED_REASONS.map((reason) => [
      String(exitCodeOf({ state: 'failed', reason })),
      `\`${reason}\``,
    ]);
    expect(tableUnder('Exit codes').map((row) => row.slice(0, 2))).toEqual(expected);
    expect(tableUnder('Exit codes').every((row) => (row[2] ?? '').length > 10)).toBe(true);
  });
});

describe('exit codes of `curfew run`', () => {
  it('`curfew run` exits with 0 for a released session, and with a code of its own for each failure', () => {
    for (const reason of RELEASED_REASONS) expect(exitCodeOf({ state: 'released', reason })).toBe(0);
    const codes = FAILED_REASONS.map((reason) => exitCodeOf({ state: 'failed', reason }));
    expect(new Set(codes).size).toBe(FAILED_REASONS.length);
    expect(Math.min(...codes)).toBe(10);
    expect(exitCodeOf({ state: 'failed', reason: null })).toBe(1);
  });
});

describe('exit codes of `curfew dispatch --wait`', () => {
  const AT = '2026-01-02T03:04:05.000Z';
  it.each([
    ['live', { state: 'live', reason: null, liveAt: AT }, 0],
    ['live', { state: 'closing', reason: 'completed', liveAt: AT }, 0],
    ['live', { state: 'released', reason: 'requested', liveAt: AT }, 0],
    ['live', { state: 'queued', reason: null, liveAt: null }, 8],
    ['live', { state: 'starting', reason: null, liveAt: null }, 8],
    ['live', { state: 'closing', reason: 'requested', liveAt: null }, 9],
    ['live', { state: 'released', reason: 'not_answered', liveAt: null }, 9],
    ['live', { state: 'closing', reason: 'start_timeout', liveAt: null }, 10],
    ['live', { state: 'failed', reason: 'crashed', liveAt: null }, 12],
    ['live', { state: 'failed', reason: 'crashed', liveAt: AT }, 12],
    ['ended', { state: 'released', reason: 'callers_left', liveAt: AT }, 0],
    ['ended', { state: 'released', reason: 'requested', liveAt: null }, 0],
    ['ended', { state: 'live', reason: null, liveAt: AT }, 8],
    ['ended', { state: 'closing', reason: 'crashed', liveAt: AT }, 8],
    ['ended', { state: 'failed', reason: 'unkillable', liveAt: AT }, 18],
  ] as const)('`curfew dispatch --wait %s` with the session %j exits with %i', (wanted, session, code) => {
    expect(exitCodeOfWait(session, wanted)).toBe(code);
  });
});
