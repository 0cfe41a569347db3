/** A damaged or lost database: set aside, never deleted, and a new one takes its place. */
import {
  cpSync,
  existsSync,
  mkdirSync,
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
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openInstance } from '../../../src/adapters/registry/instance-dir.ts';
import { rowOf } from '../../../src/adapters/registry/session-row.ts';
import { StoreRecovery } from '../../../src/adapters/registry/store-recovery.ts';
import type { DatabaseLoss } from '../../../src/ports/registry.ts';
import { sessionOf, writeOf } from '../../support/sessions.ts';

let dir: string;
let lost: DatabaseLoss[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-keeper-'));
  lost = [];
});
const releases: (() => void)[] = [];
afterEach(() => {
  for (const release of releases.splice(0)) release();
  for (const one of [dir, `${dir}.away`]) rmSync(one, { recursive: true, force: true });
});

const path = () => join(dir, 'registry.db');
const open = () => new StoreRecovery(path(), (one) => void lost.push(one));
const create = (keeper: StoreRecovery, id: string) =>
  keeper.runGroup([{ op: 'create', row: rowOf(writeOf(sessionOf({ id }))) }])[0];
const ids = (keeper: StoreRecovery) => {
  const [outcome] = keeper.runGroup([{ op: 'open' }]);
  return outcome !== undefined && 'value' in outcome
    ? (JSON.parse(String(outcome.value)) as [string, unknown][]).map(([id]) => id)
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

  it('what SQLite can read and curfew cannot is set aside', () => {
    const before = open();
    create(before, 'a');
    before.close();
    sql('UPDATE sessions SET body = substr(body, 1, 40)');
    const keeper = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-'), isCopied: false }]);
    expect(ids(keeper)).toEqual([]);
    keeper.close();
  });

  it('a database of something else is set aside', () => {
    sql('CREATE TABLE theirs (a); PRAGMA user_version=1');
    const keeper = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-') }]);
    expect(create(keeper, 'a')).toEqual({ value: undefined });
    keeper.close();
  });

  it('the log of a database that is gone is set aside, and it is told', () => {
    const before = open();
    create(before, 'a');
    cpSync(`${path()}-wal`, join(dir, 'copy'));
    before.close();
    rmSync(path());
    renameSync(join(dir, 'copy'), `${path()}-wal`);
    const keeper = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('left-'), isCopied: false }]);
    expect(readdirSync(dir).some((name) => /left-.*-wal$/.test(name))).toBe(true);
    keeper.close();
  });

  it('no database beside folders of workers is told', () => {
    mkdirSync(join(dir, 'workers', 's-1.1'), { recursive: true });
    const keeper = open();
    expect([keeper.isNew, lost.length]).toEqual([true, 1]);
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
  it.each<[string, () => void]>([
    ['deleted', () => readdirSync(dir).forEach((name) => void rmSync(join(dir, name)))],
    ['deleted without its log', () => rmSync(path())],
    ['moved away', () => renameSync(path(), join(dir, 'elsewhere.db'))],
  ])('%s: it is put back whole', (_name, damage) => {
    const keeper = open();
    create(keeper, 'a');
    damage();
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: null, isCopied: true }]);
    expect(ids(keeper)).toEqual(['a', 'b']);
    expect(afterKill()).toEqual(['a', 'b']);
    keeper.close();
  });

  it.each<[string, () => void]>([
    ['replaced by another database', () => replace("UPDATE sessions SET id = 'stranger'")],
    ['replaced by garbage', () => replaceFile(() => writeFileSync(path(), 'garbage '.repeat(2000)))],
    ['robbed of its log', () => rmSync(`${path()}-wal`)],
  ])('%s: that is set aside, and the old one put back whole', (_name, damage) => {
    const keeper = open();
    create(keeper, 'a');
    damage();
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('left-'), isCopied: true }]);
    expect(existsSync(lost[0]?.setAside ?? '')).toBe(true);
    expect(afterKill()).toEqual(['a', 'b']);
    keeper.close();
  });

  it.each<[string, () => void]>([
    ['overwritten with garbage', () => writeFileSync(path(), 'garbage '.repeat(2000))],
    ['emptied', () => truncateSync(path(), 0)],
    ['holding a record that cannot be read', () => sql("UPDATE sessions SET body = 'x'")],
  ])('%s: it is set aside, and an empty one is told', (_name, damage) => {
    const keeper = open();
    create(keeper, 'a');
    damage();
    keeper.runGroup([{ op: 'open' }]);
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-'), isCopied: false }]);
    expect(ids(keeper)).toEqual(['b']);
    expect(afterKill()).toEqual(['b']);
    keeper.close();
  });

  it('its directory away for a while: an error until it is back, and nothing is lost', () => {
    const keeper = open();
    create(keeper, 'a');
    renameSync(dir, `${dir}.away`);
    expect(() => create(keeper, 'b')).toThrow();
    expect(() => create(keeper, 'b')).toThrow();
    renameSync(`${dir}.away`, dir);
    expect(create(keeper, 'c')).toEqual({ value: undefined });
    expect([ids(keeper), lost]).toEqual([['a', 'c'], []]);
    keeper.close();
  });

  it.each<[string, () => void]>([
    ['is empty', () => undefined],
    ['is another supervisor’s', () => releases.push(openInstance(dir).release)],
  ])('its directory replaced by one that %s: nothing is put there until it is back', (_name, settle) => {
    mkdirSync(join(dir, 'workers'));
    releases.push(openInstance(dir).release);
    const keeper = open();
    create(keeper, 'a');
    renameSync(dir, `${dir}.away`);
    mkdirSync(dir);
    settle();
    const found = readdirSync(dir);
    for (let count = 0; count < 2; count++)
      expect(() => create(keeper, 'b')).toThrow(/state directory .* was replaced/);
    expect(readdirSync(dir)).toEqual(found);
    expect([ids(keeper), lost]).toEqual([['a'], []]);
    for (const release of releases.splice(1)) release();
    rmSync(dir, { recursive: true });
    renameSync(`${dir}.away`, dir);
    expect(create(keeper, 'c')).toEqual({ value: undefined });
    expect([ids(keeper), lost]).toEqual([['a', 'c'], []]);
    keeper.close();
  });

  it('deleted with its lock, and a start refused meanwhile: it is put back whole', () => {
    releases.push(openInstance(dir).release);
    const keeper = open();
    create(keeper, 'a');
    for (const name of ['supervisor.lock', 'registry.db']) rmSync(join(dir, name));
    expect(() => openInstance(dir)).toThrow(expect.objectContaining({ code: 'already_running' }));
    expect(create(keeper, 'b')).toEqual({ value: undefined });
    expect([ids(keeper), lost.length]).toEqual([['a', 'b'], 1]);
    keeper.close();
  });

  it('damaged again at once: the disk is not filled with what is set aside', () => {
    const keeper = open();
    for (let count = 0; count < 5; count++) {
      writeFileSync(path(), 'garbage '.repeat(2000));
      try {
        create(keeper, `s-${count}`);
      } catch {
        // Until some time has gone by.
      }
    }
    expect(readdirSync(dir).filter((name) => /corrupt-[^-]*-[^-]*-[^-]*Z$/.test(name))).toHaveLength(1);
    expect(lost).toHaveLength(1);
    keeper.close();
  });
});

/** By a connection of the test's own. */
function sql(text: string, file = path()): void {
  const database = new DatabaseSync(file);
  database.exec(text);
  database.close();
}

/** What a supervisor finds after this one was killed now: the files as they are. */
function afterKill(): unknown {
  const copy = mkdtempSync(join(tmpdir(), 'curfew-keeper-copy-'));
  try {
    for (const name of ['registry.db', 'registry.db-wal'])
      if (existsSync(join(dir, name))) cpSync(join(dir, name), join(copy, name));
    const keeper = new StoreRecovery(join(copy, 'registry.db'), () => undefined);
    const found = ids(keeper);
    keeper.close();
    return found;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** By an older copy of it, changed, as somebody would put a backup back. */
function replace(change: string): void {
  replaceFile(() => {
    const other = new StoreRecovery(path(), () => undefined);
    create(other, 'x');
    other.close();
    sql(change);
  });
}

function replaceFile(put: () => void): void {
  const own = mkdtempSync(join(dir, 'own-'));
  for (const suffix of ['', '-wal', '-shm']) renameSync(path() + suffix, join(own, `registry.db${suffix}`));
  put();
  renameSync(join(own, 'registry.db-wal'), `${path()}-wal`);
  renameSync(join(own, 'registry.db-shm'), `${path()}-shm`);
}
