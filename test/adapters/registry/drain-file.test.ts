/** The record of a drain on a real disk. */
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
let said: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-drain-'));
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const note = (_fields: object, message: string) => void said.push(message);
const log: Log = { debug: note, info: note, warn: note, error: note };
const open = () => createDrainStore(dir, log);

describe('a drain on record', () => {
  it('is found by the next supervisor until it is cleared', () => {
    expect(open().read()).toBeNull();
    open().write(record);
    expect(open().read()).toEqual(record);
    expect(readdirSync(dir)).toEqual(['drain.json']);
    expect(statSync(join(dir, 'drain.json')).mode & 0o777).toBe(0o600);
    open().clear();
    expect([open().read(), readdirSync(dir), said]).toEqual([null, [], []]);
  });

  it.each(['', '{"by":', '{}', 'null'])('that cannot be read (%j) is none, and is said', (text) => {
    writeFileSync(join(dir, 'drain.json'), text);
    expect(open().read()).toBeNull();
    expect(said).toHaveLength(1);
  });

  it('where somebody put a FIFO is said, and waits for no reader', () => {
    execFileSync('mkfifo', [join(dir, 'drain.json.new')]);
    open().write(record);
    expect(said).toHaveLength(1);
  });

  it('that cannot be written is said, and stops nobody', () => {
    mkdirSync(join(dir, 'drain.json', 'x'), { recursive: true });
    open().write(record);
    open().clear();
    expect(said).toHaveLength(2);
  });
});
