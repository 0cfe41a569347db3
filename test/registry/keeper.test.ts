/** A damaged or lost database: set aside, never deleted, and a new one takes its place. */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Lost } from '../../src/registry/keeper.ts';
import { StoreKeeper } from '../../src/registry/keeper.ts';
import { sessionOf, writeOf } from '../support/sessions.ts';

let dir: string;
let lost: Lost[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-keeper-'));
  lost = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const path = () => join(dir, 'registry.db');
const open = () => new StoreKeeper(path(), (one) => void lost.push(one));
const create = (keeper: StoreKeeper, id: string) =>
  keeper.runGroup([{ op: 'create', write: writeOf(sessionOf({ id })) }])[0];
const ids = (keeper: StoreKeeper) => {
  const [outcome] = keeper.runGroup([{ op: 'open' }]);
  return outcome !== undefined && 'value' in outcome
    ? (outcome.value as { spec: { id: string } }[]).map((one) => one.spec.id)
    : outcome;
};

describe('at the start', () => {
  it.each([
    ['garbage', () => writeFileSync(path(), 'garbage '.repeat(2000))],
    ['cut off in the middle', () => truncateSync(path(), 5000)],
  ])('%s is set aside', (_name, damage) => {
    const before = open();
    create(before, 'a');
    before.close();
    damage();
    const damaged = readFileSync(path());
    const keeper = open();
    expect(lost).toHaveLength(1);
    expect(keeper.isNew).toBe(true);
    const aside = lost[0]?.setAside ?? '';
    expect(readFileSync(aside).equals(damaged)).toBe(true);
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect(ids(keeper)).toEqual(['b']);
    keeper.close();
  });

  it('an empty file and none at all are new, not lost', () => {
    writeFileSync(path(), '');
    const keeper = open();
    expect([keeper.isNew, lost]).toEqual([true, []]);
    keeper.close();
    const again = open();
    expect(again.isNew).toBe(false);
    again.close();
  });
});

describe('while it is in use', () => {
  it.each<[string, () => void, boolean]>([
    ['deleted', () => readdirSync(dir).forEach((name) => void rmSync(join(dir, name))), false],
    ['moved away', () => renameSync(path(), join(dir, 'elsewhere.db')), false],
    ['overwritten with garbage', () => writeFileSync(path(), 'garbage '.repeat(2000)), true],
    ['emptied', () => truncateSync(path(), 0), true],
  ])('%s: the next write goes into a new one', (_name, damage, isAside) => {
    const keeper = open();
    create(keeper, 'a');
    damage();
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect(lost).toHaveLength(1);
    expect(lost[0]?.setAside !== null).toBe(isAside);
    expect(ids(keeper)).toEqual(['b']);
    keeper.close();
    const again = open();
    expect(ids(again)).toEqual(['b']);
    again.close();
  });
});
