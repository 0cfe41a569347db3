/** docs/reference/livekit-agents.md: its versions are those of the suite, and the suite can read its differences. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JAVASCRIPT_VERSIONS, PYTHON_VERSIONS } from '../../scripts/framework-versions.mjs';
import { isAllowedBy, readAllowed } from '../conformance/differences.ts';
import { ROOT } from '../support/daemon/daemon.ts';

const page = readFileSync(join(ROOT, 'docs/reference/livekit-agents.md'), 'utf8');
const at = { version: 'py-1.8.9', way: 'http-cold', livekit: 'one', curfew: 'other' } as const;

describe('docs/reference/livekit-agents.md', () => {
  it('names every version of the suite once, and no other', () => {
    const named = page
      .split('\n')
      .filter((line) => /^\| `(py|js)-/.test(line))
      .flatMap((line) => [...(line.split(' | ')[0] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    const known = [
      ...PYTHON_VERSIONS.map((one) => `py-${one}`),
      ...JAVASCRIPT_VERSIONS.map((one) => `js-${one}`),
    ];
    expect(named.sort()).toEqual(known.sort());
  });

  it('allows a difference of a row, in its place alone', () => {
    const allowed = readAllowed(page);
    const isAllowed = (key: string, way: 'http-cold' | 'dispatch-cold') =>
      allowed.some((row) => isAllowedBy(row, { ...at, key, way }));
    expect(isAllowed('env.CURFEW_SOCKET', 'dispatch-cold')).toBe(true);
    expect(isAllowed('job.id', 'http-cold')).toBe(true);
    expect(isAllowed('job.id', 'dispatch-cold')).toBe(false);
    expect(isAllowed('env.LIVEKIT_URL_OF_SOMEBODY', 'http-cold')).toBe(false);
  });

  it('gives a reason for each row', () => {
    const rows = page
      .slice(page.indexOf('## The allowed differences'))
      .split('\n')
      .filter((line) => line.startsWith('| `'));
    expect(rows.filter((row) => (row.split('|')[3] ?? '').length < 10)).toEqual([]);
  });
});
