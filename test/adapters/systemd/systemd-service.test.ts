/** The messages to systemd and the questions about the unit, with programs in systemd's place that record their arguments. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNotify } from '../../../src/adapters/systemd/sd-notify.ts';
import { createService } from '../../../src/adapters/systemd/systemd-service.ts';
import { askJob, findUnit, jobOf, unitOfCgroups } from '../../../src/adapters/systemd/unit-job.ts';
import { until } from '../../support/lib/wait.ts';

let dir: string;
const logged: string[] = [];
const note = (_fields: object, message: string) => void logged.push(message);
const log = { debug: () => undefined, info: () => undefined, warn: note, error: note };
const pid = process.pid;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-systemd-'));
  logged.length = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function program(name: string, script: string): void {
  writeFileSync(join(dir, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(dir, name), 0o755);
}

const sent = () =>
  existsSync(join(dir, 'sent')) ? readFileSync(join(dir, 'sent'), 'utf8').trim().split('\n') : [];
const env = (more: Record<string, string> = {}) => ({
  PATH: `${dir}:${process.env.PATH}`,
  NOTIFY_SOCKET: '/run/x',
  ...more,
});

describe('the messages to systemd', () => {
  beforeEach(() => program('systemd-notify', `echo "$NOTIFY_SOCKET $*" >>${dir}/sent`));

  it('are not sent without NOTIFY_SOCKET', async () => {
    const service = createService({ env: { PATH: dir }, pid, log });
    await service.ready(() => 'well');
    expect(await service.reloading(async () => 5)).toBe(5);
    expect(await service.ending('SIGTERM', { onTerm: 'drain', boundMs: 1000 })).toBe('drain');
    expect(sent()).toEqual([]);
    expect(logged).toEqual([]);
  });

  it('come in order: ready, reloading, ready again also after a failed reload, stopping with its bound', async () => {
    const service = createService({ env: env(), pid, log });
    await service.ready(() => 'two\nlines');
    await expect(service.reloading(() => Promise.reject(new Error('bad')))).rejects.toThrow('bad');
    expect(await service.ending('SIGINT', { onTerm: 'leave', boundMs: 60_000 })).toBe('release');
    expect(sent()).toEqual([
      '/run/x READY=1 STATUS=two lines',
      expect.stringMatching(/^\/run\/x RELOADING=1 MONOTONIC_USEC=\d+$/),
      '/run/x READY=1',
      '/run/x STOPPING=1 EXTEND_TIMEOUT_USEC=75000000 STATUS=stopping: every session is released',
    ]);
  });

  it('feed the watchdog of this process at half its interval', async () => {
    createNotify({ env: env({ WATCHDOG_USEC: '40000', WATCHDOG_PID: String(pid) }), pid, log }).feed(
      () => 'ok',
    );
    await until(
      'three watchdog messages',
      () => sent().filter((line) => line.includes('WATCHDOG=1 STATUS=ok')).length > 2,
    );
  });

  it('are logged once when they fail, without an exception', async () => {
    program('systemd-notify', 'echo "no such socket" >&2; exit 1');
    // Because: the watchdog of an earlier test logs until the process ends, so this test needs its own log.
    const errors: string[] = [];
    const own = { ...log, error: (_fields: object, message: string) => void errors.push(message) };
    const notify = createNotify({ env: env(), pid, log: own });
    await Promise.all([notify.send('READY=1'), notify.send('STATUS=x'), notify.send('STATUS=y')]);
    expect(errors).toEqual(['a message to systemd failed; check `systemd-notify` and NOTIFY_SOCKET']);
  });
});

describe('the unit of the supervisor', () => {
  it.each([
    ['0::/system.slice/curfew.service\n', 'curfew.service', false],
    ['0::/system.slice/curfew.service/supervisor\n', 'curfew.service', false],
    ['9:name=systemd:/system.slice/my-curfew@a.service\n8:pids:/\n0::/\n', 'my-curfew@a.service', false],
    ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/curfew.service\n', 'curfew.service', true],
  ])('is read from the cgroups %j as %s', (text, name, ofUser) => {
    expect(unitOfCgroups(text)).toEqual({ name, ofUser });
  });

  it('is unknown in a shell and in a container', () => {
    expect(unitOfCgroups('0::/user.slice/user-0.slice/session-1.scope\n')).toBeNull();
    expect(unitOfCgroups('0::/\n')).toBeNull();
    expect(findUnit({}, pid)).toBeNull();
    expect(findUnit({ SYSTEMD_EXEC_PID: '1' }, pid)).toBeNull();
    expect(findUnit({ CURFEW_UNIT: 'x.service' }, pid)).toMatchObject({ name: 'x.service' });
  });
});

describe("the unit's job", () => {
  const rows = '123 other.service start running\n 45 curfew.service TYPE running\n';
  it.each([
    ['stop', 'stop'],
    ['restart', 'restart'],
    ['reload', null],
  ])('of type %s is read as %s', (type, job) => {
    expect(jobOf(rows.replace('TYPE', type), 'curfew.service')).toBe(job);
  });

  it.each([
    ['echo "7 u.service stop running"', 'release'],
    ['echo "7 u.service restart running"', 'leave'],
    ['exit 0', 'leave'],
    ['echo "Failed to connect to bus" >&2; exit 1', 'leave'],
    ['exec sleep 60', 'leave'],
  ])('as systemctl reports it with %j makes the answer to SIGTERM %s', async (script, ending) => {
    program('systemctl', script);
    const saved = process.env.PATH;
    process.env.PATH = `${dir}:${saved}`;
    try {
      const service = createService({ env: { CURFEW_UNIT: 'u.service' }, pid, log });
      expect(await service.ending('SIGTERM', { onTerm: 'release', boundMs: 1 })).toBe(ending);
    } finally {
      process.env.PATH = saved;
    }
  });

  it('is unknown without systemctl', async () => {
    const saved = process.env.PATH;
    process.env.PATH = dir;
    try {
      expect(await askJob({ name: 'u.service', ofUser: false })).toBeNull();
    } finally {
      process.env.PATH = saved;
    }
  });
});
