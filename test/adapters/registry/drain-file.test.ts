/** The file that records a drain, on a real disk. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDrainStore } from '../../../src/adapters/registry/drain-file.ts';
import type { DrainRecord } from '../../../src/ports/drain-store.ts';
import type { Log } from '../../../src/ports/log.ts';

const record: DrainRecord = {
  by: { kind: 'local', name: 'ann' },
  at: { bootMs: 1, wallMs: 2 },
  untilMs: null,
  bootId: 'boot',
};
let dir: string;
let logged: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-drain-'));
  logged = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const note = (_fields: object, message: string) => void logged.push(message);
const log: Log = { debug: note, info: note, warn: note, error: note };
const open = () => createDrainStore(dir, log);

describe('the record of a drain', () => {
  it('is found by the next supervisor until it is cleared', () => {
    expect(open().read()).toBeNull();
    open().write(record);
    expect(open().read()).toEqual(record);
    expect(readdirSync(dir)).toEqual(['drain.json']);
    expect(statSync(join(dir, 'drain.json')).mode & 0o777).toBe(0o600);
    open().clear();
    expect([open().read(), readdirSync(dir), logged]).toEqual([null, [], []]);
  });

  it.each([
    '',
    '{"by":',
    '{}',
    'null',
  ])('counts as no drain when it cannot be read, and that is logged: %j', (text) => {
    writeFileSync(join(dir, 'drain.json'), text);
    expect(open().read()).toBeNull();
    expect(logged).toHaveLength(1);
  });

  it('is not written through a FIFO, which is logged without a wait', () => {
    execFileSync('mkfifo', [join(dir, 'drain.json.new')]);
    open().write(record);
    expect(logged).toHaveLength(1);
  });

  it('is logged when it cannot be written, without an exception', () => {
    mkdirSync(join(dir, 'drain.json', 'x'), { recursive: true });
    open().write(record);
    open().clear();
    expect(logged).toHaveLength(2);
  });
});
