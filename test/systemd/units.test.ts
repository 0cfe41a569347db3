/** The units and the installer, judged by systemd itself. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { ROOT } from '../support/daemon.ts';
import { Machine } from '../support/machine.ts';

const UNITS = ['curfew.service', 'curfew-cleanup.service', 'curfew-cleanup.timer'];

let machine: Machine;
beforeAll(async () => {
  machine = new Machine();
  await machine.boot();
});
afterAll(() => machine.close());

const install = (...args: readonly string[]) =>
  spawnSync(
    process.execPath,
    [
      join(ROOT, 'scripts/install-systemd.mjs'),
      ...['--root', machine.root, '--dist', inject('dist'), ...args],
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
const here = (path: string) => join(machine.root, path);

describe('the units', () => {
  it('have nothing that systemd does not know', async () => {
    const { code, out, err } = await machine.run('systemd-analyze', 'verify', ...UNITS);
    expect({ code, out, err }).toEqual({ code: 0, out: '', err: '' });
  });

  it.each(['curfew.service', 'curfew-cleanup.service'])('%s is exposed by 2.0 at most', async (unit) => {
    const out = await machine.must('systemd-analyze', 'security', '--no-pager', unit);
    const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(out) ?? [];
    expect(Number(exposure), out).toBeLessThanOrEqual(2);
  });
});

describe('an installed curfew', () => {
  it('starts as it was installed, with its secrets as credentials and a cgroup for each worker', async () => {
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
    await machine.must('systemctl', 'stop', 'curfew');
  });

  it('is upgraded by installing again, which leaves the config alone', async () => {
    machine.write('/etc/curfew/curfew.yaml', '# mine\n');
    expect(install('--dry-run').stdout).toMatch(/^would: install the program/);
    const { status, stdout, stderr } = install();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('/etc/curfew/curfew.yaml is there and stays as it is');
    expect(readFileSync(here('/etc/curfew/curfew.yaml'), 'utf8')).toBe('# mine\n');
    expect(await machine.must('curfew', '--help')).toContain('Supervises voice-agent processes');
  });

  it('takes no folder that is not its own', () => {
    for (const prefix of ['/', '/etc', 'relative'])
      expect(install('--prefix', prefix).status, prefix).toBe(1);
    expect(install('--uninstall', '--prefix', '/etc').status).toBe(1);
    expect(existsSync(here('/etc/passwd'))).toBe(true);
  });

  it('is taken away again but for config, state and user', () => {
    expect(install('--uninstall').status).toBe(0);
    for (const path of [
      '/opt/curfew',
      '/usr/local/bin/curfew',
      '/usr/local/lib/systemd/system/curfew.service',
    ])
      expect(existsSync(here(path)), path).toBe(false);
    for (const path of ['/etc/curfew/curfew.yaml', '/var/lib/curfew'])
      expect(existsSync(here(path)), path).toBe(true);
  });
});
