/** The audit file on a real disk. */
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
let logged: object[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-audit-'));
  logged = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const path = () => join(dir, 'audit.log');
const note = (fields: object) => void logged.push(fields);
const log: Log = { debug: note, info: note, warn: note, error: note };
const open = () => createAudit(dir, log);
const lines = () => readFileSync(path(), 'utf8').trimEnd().split('\n');

const TYPESCRIPT = ['--disable-warning=ExperimentalWarning', '--input-type=module'];
/** Writes its line `times` times, continues until the other process writes too, then writes `times` more. */
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

describe('a line of the audit file', () => {
  it('has its time, keeps its order, and only the owner can read it', async () => {
    const audit = open();
    const actors = Array.from({ length: 50 }, (_, at) => `u${at}`);
    await Promise.all(actors.map((actor) => audit.write(entryOf(actor))));
    const read = lines().map((line) => JSON.parse(line) as { actor: string; time: string });
    expect(read.map((one) => one.actor)).toEqual(actors);
    expect(read.every((one) => Math.abs(Date.parse(one.time) - Date.now()) < 60_000)).toBe(true);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(logged).toEqual([]);
  });

  // A long line lies on two pages, and another process can see the first page alone. A very long line is easily cut.
  it.each([
    [3_000, 500],
    [600_000, 20],
  ])('of %i characters is never mixed with a line of another process', async (length, times) => {
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

  it('stands on its own line after a line that a full disk cut off', async () => {
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

it.runIf(process.getuid?.() === 0)(
  'an audit file that root writes belongs to the owner of its directory',
  async () => {
    chownSync(dir, 65534, 65534);
    await open().write(entryOf('root'));
    expect(statSync(path())).toMatchObject({ uid: 65534, gid: 65534 });
  },
);

describe('an audit file that cannot be written', () => {
  it.each([
    ['a folder has its name', () => mkdirSync(path())],
    ['a link to elsewhere has its name', () => symlinkSync(join(dir, 'elsewhere'), path())],
    ['the directory is gone', () => rmSync(dir, { recursive: true })],
  ])('is an error in the log without private data when %s', async (_name, spoil) => {
    spoil();
    await open().write(entryOf('ann'));
    expect(logged).toMatchObject([
      { path: path(), entry: { action: 'release', actor: 'ann', targets: [{ session: 's-1' }] } },
    ]);
    expect(JSON.stringify(logged)).not.toContain('1234567');
    expect(existsSync(join(dir, 'elsewhere'))).toBe(false);
  });
});
