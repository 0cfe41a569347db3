/** The audit file against a real disk. */
import { execFile } from 'node:child_process';
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAudit } from '../../../src/adapters/telemetry/audit-file.ts';
import type { AuditEntry } from '../../../src/ports/audit.ts';
import type { Log } from '../../../src/ports/log.ts';

let dir: string;
let said: object[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-audit-'));
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const path = () => join(dir, 'audit.log');
const note = (fields: object) => void said.push(fields);
const log: Log = { debug: note, info: note, warn: note, error: note };
const open = () => createAudit(dir, log);
const lines = () => readFileSync(path(), 'utf8').trimEnd().split('\n');

const TYPESCRIPT = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
/** Writes its line so often alone, goes on until the other process is at it, too, and so often again. */
const WRITES_BESIDE = `
  const [src, dir, text, other, length, times] = process.argv.slice(1);
  const { existsSync, writeFileSync } = await import('node:fs');
  const { createAudit } = await import(src + '/adapters/telemetry/audit-file.ts');
  const fail = (fields, why) => { console.error(why, fields); process.exit(1); };
  const audit = createAudit(dir, { debug: fail, info: fail, warn: fail, error: fail });
  const entry = { ...JSON.parse(text), request: { filter: { room: 'x'.repeat(Number(length)) } } };
  writeFileSync(dir + '/' + entry.actor, '');
  for (let at = 0; at < Number(times) || !existsSync(dir + '/' + other); at++) await audit.write(entry);
  for (let at = 0; at < Number(times); at++) await audit.write(entry);`;

const entryOf = (actor: string): AuditEntry => ({
  action: 'release',
  actor,
  verified: false,
  source: 'socket',
  request: { filter: { room: '+49 170 1234567' } },
  targets: [{ session: 's-1' }],
  outcome: 'done',
  error: null,
});

describe('a line', () => {
  it('has its time, comes in order, and only its owner may read it', async () => {
    const audit = open();
    const actors = Array.from({ length: 50 }, (_, at) => `u${at}`);
    await Promise.all(actors.map((actor) => audit.write(entryOf(actor))));
    const read = lines().map((line) => JSON.parse(line) as { actor: string; time: string });
    expect(read.map((one) => one.actor)).toEqual(actors);
    expect(read.every((one) => Math.abs(Date.parse(one.time) - Date.now()) < 60_000)).toBe(true);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(said).toEqual([]);
  });

  // A long line lies on two pages, and the other process may see the first alone; a very long one is easily cut.
  it.each([
    [3_000, 500],
    [600_000, 20],
  ])('of %i characters is never mixed with one of another process', async (length, times) => {
    const src = resolve(import.meta.dirname, '../../../src');
    const run = (own: string, other: string) =>
      promisify(execFile)(
        process.execPath,
        [
          ...TYPESCRIPT,
          '-e',
          WRITES_BESIDE,
          src,
          dir,
          JSON.stringify(entryOf(own)),
          other,
          String(length),
          String(times),
        ],
        { timeout: 30_000 },
      );
    await Promise.all([run('ann', 'bob'), run('bob', 'ann')]);
    const actors = lines().map((line) => (JSON.parse(line) as AuditEntry).actor);
    for (const actor of ['ann', 'bob'])
      expect(actors.filter((one) => one === actor).length).toBeGreaterThanOrEqual(2 * times);
  });

  it('goes on after one of which a full disk took only a part', async () => {
    const audit = open();
    await audit.write(entryOf('a'));
    appendFileSync(path(), '{"time":"2026');
    await audit.write(entryOf('b'));
    expect(lines().map((line) => line.includes('"actor"'))).toEqual([true, false, true]);
  });

  it('goes into a new file after a rotation', async () => {
    const audit = open();
    await audit.write(entryOf('a'));
    renameSync(path(), `${path()}.1`);
    await audit.write(entryOf('b'));
    expect([lines().length, existsSync(`${path()}.1`)]).toEqual([1, true]);
  });
});

it.runIf(process.getuid?.() === 0)('what root writes belongs to whom the directory belongs to', async () => {
  chownSync(dir, 65534, 65534);
  await open().write(entryOf('root'));
  expect(statSync(path())).toMatchObject({ uid: 65534, gid: 65534 });
});

describe('a file that cannot be written', () => {
  it.each([
    ['a folder is there', () => mkdirSync(path())],
    ['a link to elsewhere is there', () => symlinkSync(join(dir, 'elsewhere'), path())],
    ['the directory is gone', () => rmSync(dir, { recursive: true })],
  ])('is an error in the log, without what may be private: %s', async (_name, spoil) => {
    spoil();
    await open().write(entryOf('ann'));
    expect(said).toMatchObject([
      { path: path(), entry: { action: 'release', actor: 'ann', targets: [{ session: 's-1' }] } },
    ]);
    expect(JSON.stringify(said)).not.toContain('1234567');
    expect(existsSync(join(dir, 'elsewhere'))).toBe(false);
  });
});
