/** The load of this host, as it is reported to LiveKit. */
import { expect, it } from 'vitest';
import { JOB_SOURCE } from '../../src/lib/limits/livekit-limits.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { JobLoad, Jobs } from '../../src/ports/jobs.ts';
import type { JobSourceOptions } from '../../src/runtime/dispatch/job-source.ts';
import { JobSource } from '../../src/runtime/dispatch/job-source.ts';
import { profile } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';

function setUp() {
  let nowMs = 1000;
  let changed: () => void = () => undefined;
  const alarms: { readonly dueMs: number; readonly callback: () => void }[] = [];
  const clock: Clock = {
    now: () => ({ bootMs: nowMs, wallMs: 0 }),
    at: (dueMs, callback) => {
      const alarm = { dueMs, callback };
      alarms.push(alarm);
      return () => alarms.splice(alarms.indexOf(alarm), alarms.includes(alarm) ? 1 : 0);
    },
  };
  const reported: JobLoad[] = [];
  const jobs: Partial<Jobs> = { setLoad: (_, load) => void reported.push(load), start: () => undefined };
  const host = { name: 'host', limit: 4, used: 0, holders: [] };
  const options: Partial<JobSourceOptions> = {
    jobs: jobs as Jobs,
    deps: { clock, log: SILENT, agents: ['default'], profileOf: () => profile({ agentName: 'voice' }) },
    sessions: { all: () => [], post: () => undefined, state: () => null, idle: async () => undefined },
    admission: {
      quotas: () => [host],
      overload: () => [],
      onChange: (callback) => {
        changed = callback;
      },
    },
    isAccepting: () => true,
  };
  const source = new JobSource(options as JobSourceOptions);
  const until = (atMs: number) => {
    nowMs = atMs;
    for (const alarm of alarms.filter((one) => one.dueMs <= atMs)) {
      alarms.splice(alarms.indexOf(alarm), 1);
      alarm.callback();
    }
  };
  const use = (used: number) => {
    host.used = used;
    changed();
  };
  return { source, reported, until, use, alarms };
}

it('a change of the load is reported at once, later changes are merged for a while, and the last value is reported', () => {
  const { source, reported, until, use, alarms } = setUp();
  source.start();
  expect(reported).toMatchObject([{ load: 0 }]);
  until(5000);
  use(1);
  until(5000);
  expect(reported).toMatchObject([{ load: 0 }, { load: 0.25 }]);
  for (const used of [2, 3, 4]) use(used);
  until(5000 + JOB_SOURCE.loadEveryMs - 1);
  expect(reported).toHaveLength(2);
  until(5000 + JOB_SOURCE.loadEveryMs);
  expect(reported).toMatchObject([{ load: 0 }, { load: 0.25 }, { load: 1, full: true }]);
  expect(alarms).toEqual([]);
});
