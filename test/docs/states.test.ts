import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { statesTable } from '../../scripts/states-table.ts';

it('docs/states.md has the transitions of the core; npm run docs writes it', () => {
  expect(readFileSync(new URL('../../docs/states.md', import.meta.url), 'utf8')).toBe(statesTable());
});
