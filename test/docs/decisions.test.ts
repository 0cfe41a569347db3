/** docs/decisions: each number once, the same sections everywhere, and an index that says the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const FOLDER = join(ROOT, 'docs/decisions');
const SECTIONS = ['Context', 'Decision', 'Consequences', 'Rejected'];
const files = readdirSync(FOLDER)
  .filter((name) => name !== 'README.md')
  .sort();

interface Decision {
  readonly file: string;
  readonly title: string;
  readonly status: string;
  readonly sections: readonly string[];
}

function read(file: string): Decision {
  const text = readFileSync(join(FOLDER, file), 'utf8');
  const [, title = ''] = /^# \d{4} (.+)$/m.exec(text) ?? [];
  const [, status = ''] = /^Status: (.+) · \d{4}-\d\d-\d\d$/m.exec(text) ?? [];
  return { file, title, status, sections: [...text.matchAll(/^## (.+)$/gm)].map((found) => found[1] ?? '') };
}

describe('docs/decisions', () => {
  it('gives each file a number of its own', () => {
    const numbers = files.map((name) => /^\d{4}-/.exec(name)?.[0]);
    expect(numbers).not.toContain(undefined);
    expect(new Set(numbers).size).toBe(files.length);
  });

  it.each(files)('%s has a title, a status and its four sections', (file) => {
    const { title, status, sections } = read(file);
    expect(title).not.toBe('');
    expect(status).toMatch(/^(accepted|superseded)/);
    expect(sections).toEqual(SECTIONS);
  });

  it('lists each file in README.md with its title and status', () => {
    const index = readFileSync(join(FOLDER, 'README.md'), 'utf8');
    const rows = index.split('\n').filter((line) => line.startsWith('| ['));
    const expected = files
      .map(read)
      .map(({ file, title, status }) => `| [${file.slice(0, 4)}](${file}) | ${title} | ${status} |`);
    expect(rows).toEqual(expected);
  });
});
