/** A damaged or lost database is set aside, never deleted, and a new one replaces it. */
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
import { sessionOf, writeOf } from '../../support/sessions/session-writes.ts';

let dir: string;
let lost: DatabaseLoss[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-store-'));
  lost = [];
});
const releases: (() => void)[] = [];
afterEach(() => {
  for (const release of releases.splice(0)) release();
  for (const one of [dir, `${dir}.away`]) rmSync(one, { recursive: true, force: true });
});

const path = () => join(dir, 'registry.db');
const open = () => new StoreRecovery(path(), (one) => void lost.push(one));
const create = (store: StoreRecovery, id: string) => {
  const [outcome] = store.runGroup([{ op: 'create', row: rowOf(writeOf(sessionOf({ id }))) }]);
  return outcome;
};
const ids = (store: StoreRecovery) => {
  const [outcome] = store.runGroup([{ op: 'open' }]);
  return outcome !== undefined && 'value' in outcome
    ? (JSON.parse(String(outcome.value)) as [string, unknown][]).map(([id]) => id)
    : outcome;
};

describe('a database at the start of a supervisor', () => {
  it.each([
    ['holds garbage', () => writeFileSync(path(), 'garbage '.repeat(2000))],
    ['is cut off in the middle', () => truncateSync(path(), 5000)],
  ])('is set aside when it %s', (_name, damage) => {
    const before = open();
    create(before, 'a');
    before.close();
    damage();
    const damaged = readFileSync(path());
    const store = open();
    expect(lost).toHaveLength(1);
    expect(store.isNew).toBe(true);
    const [loss] = lost;
    expect(readFileSync(loss?.setAside ?? '').equals(damaged)).toBe(true);
    expect(create(store, 'b')).toEqual({ value: undefined });
    expect(ids(store)).toEqual(['b']);
    store.close();
  });

  it('is set aside when SQLite can read it and curfew cannot', () => {
    const before = open();
    create(before, 'a');
    before.close();
    sql('UPDATE sessions SET body = substr(body, 1, 40)');
    const store = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-'), isCopied: false }]);
    expect(ids(store)).toEqual([]);
    store.close();
  });

  it('is set aside when another program made it', () => {
    sql('CREATE TABLE theirs (a); PRAGMA user_version=1');
    const store = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-') }]);
    expect(create(store, 'a')).toEqual({ value: undefined });
    store.close();
  });

  it('that is gone has its leftover log set aside, and the loss is reported', () => {
    const before = open();
    create(before, 'a');
    cpSync(`${path()}-wal`, join(dir, 'copy'));
    before.close();
    rmSync(path());
    renameSync(join(dir, 'copy'), `${path()}-wal`);
    const store = open();
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('left-'), isCopied: false }]);
    expect(readdirSync(dir).some((name) => /left-.*-wal$/.test(name))).toBe(true);
    store.close();
  });

  it('that is missing beside folders of workers is reported as lost', () => {
    mkdirSync(join(dir, 'workers', 's-1.1'), { recursive: true });
    const store = open();
    expect([store.isNew, lost.length]).toEqual([true, 1]);
    store.close();
  });

  it('that is empty or missing without workers is new, not lost', () => {
    writeFileSync(path(), '');
    const store = open();
    expect([store.isNew, lost]).toEqual([true, []]);
    store.close();
    const again = open();
    expect(again.isNew).toBe(false);
    again.close();
  });
});

describe('a database in use', () => {
  it.each<[string, () => void]>([
    ['is deleted', () => readdirSync(dir).forEach((name) => void rmSync(join(dir, name)))],
    ['is deleted without its log', () => rmSync(path())],
    ['is moved away', () => renameSync(path(), join(dir, 'elsewhere.db'))],
  ])('is written back whole after it %s', (_name, damage) => {
    const store = open();
    create(store, 'a');
    damage();
    expect(create(store, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: null, isCopied: true }]);
    expect(ids(store)).toEqual(['a', 'b']);
    expect(afterKill()).toEqual(['a', 'b']);
    store.close();
  });

  it.each<[string, () => void]>([
    ['is replaced by another database', () => replace("UPDATE sessions SET id = 'stranger'")],
    ['is replaced by garbage', () => replaceFile(() => writeFileSync(path(), 'garbage '.repeat(2000)))],
    ['loses its log', () => rmSync(`${path()}-wal`)],
  ])('is written back whole after it %s, and the other file is set aside', (_name, damage) => {
    const store = open();
    create(store, 'a');
    damage();
    expect(create(store, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('left-'), isCopied: true }]);
    const [loss] = lost;
    expect(existsSync(loss?.setAside ?? '')).toBe(true);
    expect(afterKill()).toEqual(['a', 'b']);
    store.close();
  });

  it.each<[string, () => void]>([
    ['is overwritten with garbage', () => writeFileSync(path(), 'garbage '.repeat(2000))],
    ['is emptied', () => truncateSync(path(), 0)],
    ['holds an unreadable record', () => sql("UPDATE sessions SET body = 'x'")],
  ])('is set aside after it %s, and the loss is reported', (_name, damage) => {
    const store = open();
    create(store, 'a');
    damage();
    store.runGroup([{ op: 'open' }]);
    expect(create(store, 'b')).toEqual({ value: undefined });
    expect(lost).toMatchObject([{ setAside: expect.stringContaining('corrupt-'), isCopied: false }]);
    expect(ids(store)).toEqual(['b']);
    expect(afterKill()).toEqual(['b']);
    store.close();
  });

  it('refuses writes while its directory is away, and loses nothing', () => {
    const store = open();
    create(store, 'a');
    renameSync(dir, `${dir}.away`);
    expect(() => create(store, 'b')).toThrow();
    expect(() => create(store, 'b')).toThrow();
    renameSync(`${dir}.away`, dir);
    expect(create(store, 'c')).toEqual({ value: undefined });
    expect([ids(store), lost]).toEqual([['a', 'c'], []]);
    store.close();
  });

  it.each<[string, () => void]>([
    ['is empty', () => undefined],
    ['belongs to another supervisor', () => releases.push(openInstance(dir).release)],
  ])('writes nothing into a replaced directory that %s, until its own directory is back', (_name, settle) => {
    mkdirSync(join(dir, 'workers'));
    releases.push(openInstance(dir).release);
    const store = open();
    create(store, 'a');
    renameSync(dir, `${dir}.away`);
    mkdirSync(dir);
    settle();
    const found = readdirSync(dir);
    for (let count = 0; count < 2; count++)
      expect(() => create(store, 'b')).toThrow(/state directory .* was replaced/);
    expect(readdirSync(dir)).toEqual(found);
    expect([ids(store), lost]).toEqual([['a'], []]);
    for (const release of releases.splice(1)) release();
    rmSync(dir, { recursive: true });
    renameSync(`${dir}.away`, dir);
    expect(create(store, 'c')).toEqual({ value: undefined });
    expect([ids(store), lost]).toEqual([['a', 'c'], []]);
    store.close();
  });

  it('is written back whole when it was deleted with its lock and a second start was refused', () => {
    releases.push(openInstance(dir).release);
    const store = open();
    create(store, 'a');
    for (const name of ['supervisor.lock', 'registry.db']) rmSync(join(dir, name));
    expect(() => openInstance(dir)).toThrow(expect.objectContaining({ code: 'already_running' }));
    expect(create(store, 'b')).toEqual({ value: undefined });
    expect([ids(store), lost.length]).toEqual([['a', 'b'], 1]);
    store.close();
  });

  it('is set aside once when it is damaged again and again, so that the disk does not fill', () => {
    const store = open();
    for (let count = 0; count < 5; count++) {
      writeFileSync(path(), 'garbage '.repeat(2000));
      try {
        create(store, `s-${count}`);
      } catch {
        // Expected: a second damage within a short time is refused.
      }
    }
    expect(readdirSync(dir).filter((name) => /corrupt-[^-]*-[^-]*-[^-]*Z$/.test(name))).toHaveLength(1);
    expect(lost).toHaveLength(1);
    store.close();
  });
});

/** Runs SQL over a separate connection. */
function sql(text: string, file = path()): void {
  const database = new DatabaseSync(file);
  database.exec(text);
  database.close();
}

/** The ids that a supervisor finds when this one is killed now. */
function afterKill(): unknown {
  const copy = mkdtempSync(join(tmpdir(), 'curfew-store-copy-'));
  try {
    for (const name of ['registry.db', 'registry.db-wal'])
      if (existsSync(join(dir, name))) cpSync(join(dir, name), join(copy, name));
    const store = new StoreRecovery(join(copy, 'registry.db'), () => undefined);
    const found = ids(store);
    store.close();
    return found;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** Replaces the database with a changed older copy, as a restored backup does. */
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
