/** When the record of a drain is deleted. */
import { expect, it } from 'vitest';
import type { DrainRecord } from '../../src/ports/drain-store.ts';
import { Drain } from '../../src/runtime/drain.ts';
import { at } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';

it('an undo without a drain logs and writes nothing', () => {
  const drain = new Drain({
    clock: { now: () => at(0), at: () => () => undefined },
    log: {
      ...SILENT,
      warn: () => {
        throw new Error('it was logged');
      },
    },
    store: {
      read: () => null,
      write: () => undefined,
      clear: () => {
        throw new Error('it was cleared');
      },
    },
    bootId: 'boot',
    open: () => 1,
  });
  drain.undo();
  expect(drain.view).toBeNull();
});

it('a drain stays on record after its deadline until the remaining sessions are released', async () => {
  let recorded: DrainRecord | null = null;
  const alarms: (() => void)[] = [];
  const drain = new Drain({
    clock: {
      now: () => at(0),
      at: (_, callback) => {
        alarms.push(callback);
        return () => undefined;
      },
    },
    log: SILENT,
    store: {
      read: () => recorded,
      write: (record) => {
        recorded = record;
      },
      clear: () => {
        recorded = null;
      },
    },
    bootId: 'boot',
    open: () => 1,
  });
  drain.begin({ kind: 'local', name: 'ann' }, 1000);
  drain.stopped();
  expect(recorded).not.toBeNull();
  const [deadline] = alarms;
  deadline?.();
  expect(await drain.over).toMatchObject({ name: 'ann' });
  // A supervisor that is killed during the release must not accept new calls after its restart.
  expect(recorded).not.toBeNull();
  drain.stopped();
  expect(recorded).toBeNull();
});
