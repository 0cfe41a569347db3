/** When a drain is forgotten. */
import { expect, it } from 'vitest';
import type { DrainRecord } from '../../src/ports/drain-store.ts';
import { Drain } from '../../src/runtime/drain.ts';
import { at } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';

it('that is not under way is not undone: nothing is said or written', () => {
  const drain = new Drain({
    clock: { now: () => at(0), at: () => () => undefined },
    log: {
      ...SILENT,
      warn: () => {
        throw new Error('it was said');
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

it('holds until what was left when its time was over has been released', async () => {
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
  alarms[0]?.();
  expect(await drain.over).toMatchObject({ name: 'ann' });
  // A supervisor that is killed in the midst of the release is not open for new calls afterwards.
  expect(recorded).not.toBeNull();
  drain.stopped();
  expect(recorded).toBeNull();
});
