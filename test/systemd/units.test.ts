/** systemd itself judges the units and the installer. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Machine, PROJECT, PROJECT_BINDS } from '../support/daemon/systemd-machine.ts';

const UNITS = ['curfew.service', 'curfew-cleanup.service', 'curfew-cleanup.timer'];

let machine: Machine;
beforeAll(async () => {
  machine = new Machine({ binds: { ...PROJECT_BINDS, [inject('dist')]: '/srv/dist' } });
  await machine.boot();
});
afterAll(() => machine.close());

/** Installs on the machine itself, without a staging root, over the version that is there. */
const install = (...args: readonly string[]) =>
  machine.run(
    `${PROJECT}/node_modules/node/bin/node`,
    `${PROJECT}/scripts/install-systemd.mjs`,
    ...['--dist', '/srv/dist', ...args],
  );
const here = (path: string) => join(machine.root, path);

describe('the units', () => {
  it('the units have no line that systemd does not know', async () => {
    const { code, out, err } = await machine.run('systemd-analyze', 'verify', ...UNITS);
    expect({ code, out, err }).toEqual({ code: 0, out: '', err: '' });
  });

  it.each([
    'curfew.service',
    'curfew-cleanup.service',
  ])('%s has an exposure level of at most 2.0', async (unit) => {
    const out = await machine.must('systemd-analyze', 'security', '--no-pager', unit);
    const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(out) ?? [];
    expect(Number(exposure), out).toBeLessThanOrEqual(2);
  });
});

describe('an installed curfew', () => {
  it('an installed curfew starts with its secrets as credentials and a cgroup for each worker', async () => {
    machine.write('/etc/curfew/credentials/backend', 'a-token-of-a-backend\n');
    await machine.must('chmod', '-R', 'go=', '/etc/curfew/credentials');
    const config = readFileSync(here('/etc/curfew/curfew.yaml'), 'utf8');
    const tokens = '\napi:\n  tokens: [{name: backend, token_file: credentials/backend, scopes: [read]}]\n';
    writeFileSync(here('/etc/curfew/curfew.yaml'), config + tokens);
    await machine.must('systemctl', 'start', 'curfew');
    const { pid } = await machine.dispatch('r');
    expect(await machine.must('cat', `/proc/${pid}/cgroup`)).toMatch(/curfew\.service\/curfew-\w+\/w-s-/);
    expect(await machine.must('stat', '-c', '%U', `/proc/${pid}`)).toBe('curfew');
    expect(await machine.must('curfew', 'config', 'check', '/etc/curfew/curfew.yaml')).toContain('is good');
  });

  it('a second installation upgrades curfew, and keeps the config and each call', async () => {
    const config = readFileSync(here('/etc/curfew/curfew.yaml'), 'utf8');
    const before = await machine.dispatch('upgraded');
    expect((await install('--dry-run')).out).toMatch(/^would: install the program/);
    const { code, out, err } = await install();
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('/etc/curfew/curfew.yaml exists and stays unchanged');
    expect(readFileSync(here('/etc/curfew/curfew.yaml'), 'utf8')).toBe(config);
    await machine.must('systemctl', 'restart', 'curfew');
    expect(await machine.session(before.id)).toMatchObject({ state: 'live', pid: before.pid });
  });

  it('the installer takes no folder that is not its own', async () => {
    for (const prefix of ['/', '/etc', 'relative'])
      expect((await install('--prefix', prefix)).code, prefix).toBe(1);
    expect((await install('--uninstall', '--prefix', '/etc')).code).toBe(1);
    expect(existsSync(here('/etc/passwd'))).toBe(true);
  });

  it('an uninstallation stops curfew and removes everything except config, state and user', async () => {
    await machine.must('systemctl', 'enable', '--now', 'curfew.service', 'curfew-cleanup.timer');
    expect(await install('--uninstall')).toMatchObject({ code: 0 });
    expect((await machine.run('systemctl', 'is-active', 'curfew')).out).toBe('inactive\n');
    expect((await machine.run('pgrep', '-u', 'curfew')).out).toBe('');
    const left = await machine.must('find', '/usr/local', '/opt', '/etc/systemd', '-name', '*curfew*');
    expect(left).toBe('');
    for (const path of ['/etc/curfew/curfew.yaml', '/var/lib/curfew'])
      expect(existsSync(here(path)), path).toBe(true);
  });
});
