/** Each word of docs/glossary.md has a symbol that exists in the file it names. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const TEXT = readFileSync(join(ROOT, 'docs/glossary.md'), 'utf8');
const ROW = /^\| (?<word>[^|]+) \| (?<meaning>[^|]+) \| `(?<file>[^`]+)` `(?<symbol>[^`]+)` \|$/;

const rows = TEXT.split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| word '))
  .map((line) => ({ line, found: ROW.exec(line)?.groups }));

/** Declared there: exported, a member of a type, or a key. */
function declares(file: string, symbol: string): boolean {
  const path = join(ROOT, file);
  if (!existsSync(path)) return false;
  return new RegExp(
    `\\b(?:class|interface|type|function|const) ${symbol}\\b|^ *(?:readonly )?${symbol}\\??: `,
    'm',
  ).test(readFileSync(path, 'utf8'));
}

describe('docs/glossary.md', () => {
  it('has about thirty words or more, each once, with a meaning and a symbol', () => {
    expect(rows.length).toBeGreaterThanOrEqual(30);
    expect(rows.filter(({ found }) => found === undefined).map(({ line }) => line)).toEqual([]);
    const words = rows.map(({ found }) => found?.word);
    expect(new Set(words).size).toBe(words.length);
  });

  it('names symbols that are declared where it says', () => {
    const wrong = rows
      .map(({ found }) => found ?? {})
      .filter(({ file = '', symbol = '' }) => !declares(file, symbol))
      .map(({ word, file, symbol }) => `${word}: ${file} declares no ${symbol}`);
    expect(wrong).toEqual([]);
  });
});
