/** The format on disk: what 0.1.0 wrote is read, and what this version writes 0.1.0 can read. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asSession } from '../../src/core/admission/stored-record.ts';
import type { SessionRecord } from '../../src/core/model/session-record.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import { newSession } from '../../src/core/model/updates.ts';
import { deadlines } from '../../src/core/session/deadlines.ts';
import { play, specs, story } from './stories.ts';

/** Written by version 0.1.0 (commit 7849e9a), with the deadlines that version computed from each record. */
const WRITTEN = readFileSync(new URL('../fixtures/records/sessions-0.1.0.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Written);

interface Written {
  readonly name: string;
  readonly deadlines: readonly (readonly [kind: string, atMs: number])[];
  readonly record: SessionRecord;
}

const asStored = (record: SessionRecord) => JSON.parse(JSON.stringify(record)) as SessionRecord;

/** 0.1.0 kept the channel of a worker without a tree, and never read it. The model has no place for it. */
const withoutDeadChannels = (record: SessionRecord) =>
  JSON.parse(JSON.stringify(record), (_key, value) =>
    value?.treeGone === true ? { ...value, channel: 'none' } : value,
  ) as SessionRecord;

describe.for(WRITTEN)('a record of 0.1.0, $name,', ({ record, deadlines: known }) => {
  it('is read, and written back as 0.1.0 wrote it', () => {
    const session = asSession(record);
    expect(session).not.toBeNull();
    expect(session && asStored(toRecord(session))).toEqual(withoutDeadChannels(record));
  });

  it('has the deadlines that 0.1.0 computed', () => {
    expect(deadlines(fromRecord(record)).map((one) => [one.kind, one.atMs])).toEqual(known);
  });
});

describe('a session of this version', () => {
  it('is the same after it was written to disk and read', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        play(newSession(one, {}), steps, (_before, after) => {
          expect(fromRecord(asStored(toRecord(after)))).toEqual(after);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('is written with the names that 0.1.0 reads', () => {
    const written = WRITTEN.find(({ name }) => name === 'live, a caller missed by a poll')?.record;
    if (written === undefined) throw new Error('the fixture has no such record');
    const session = fromRecord(written);
    expect(session.presence.departures).toMatchObject([{ source: 'snapshot' }]);
    const record = toRecord(session);
    expect(record.presence.departures).toMatchObject([{ source: 'look' }]);
    expect(record.vitals).toHaveProperty('lookAskedMs');
  });
});

describe('a damaged record', () => {
  const live = WRITTEN.find(({ record }) => record.phase.name === 'live')?.record;
  const damaged = (worker: unknown) => {
    const copy = JSON.parse(JSON.stringify(live));
    copy.phase.work.worker =
      typeof worker === 'object' && !Array.isArray(worker)
        ? { ...copy.phase.work.worker, ...worker }
        : worker;
    return copy;
  };

  it.each<[string, unknown]>([
    ['a list in place of its worker', [1, 2]],
    ['no worker', undefined],
    ['a worker without an id', { id: undefined }],
    ['a worker without an exit', { exit: undefined }],
    ['a process without a shim', { process: { main: null } }],
    [
      'a process with a text as pid',
      { process: { main: null, shim: { bootId: 'b', pid: '1', startTicks: 1 } } },
    ],
    ['an unknown channel', { channel: 'weird' }],
    ['a text in place of treeGone', { treeGone: 'no' }],
  ])('with %s is no session, so that the other sessions are adopted', (_, worker) => {
    expect(asSession(damaged({}))).not.toBeNull();
    expect(asSession(damaged(worker))).toBeNull();
  });

  it('with an unknown kind of work is no session', () => {
    const copy = JSON.parse(JSON.stringify(live));
    copy.phase.work.kind = 'nope';
    expect(asSession(copy)).toBeNull();
  });
});
