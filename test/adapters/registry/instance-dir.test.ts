/** A state directory: its id, its keys and its lock. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureAdminToken, isSupervised, openInstance } from '../../../src/adapters/registry/instance-dir.ts';
import { openRegistryReader } from '../../../src/adapters/registry/registry-reader.ts';

let dir: string;
const releases: (() => void)[] = [];

beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'curfew-instance-')), 'state');
});
afterEach(() => {
  for (const release of releases.splice(0)) release();
  rmSync(join(dir, '..'), { recursive: true, force: true });
});

function open() {
  const opened = openInstance(dir);
  releases.push(opened.release);
  return opened;
}

describe('a state directory', () => {
  it('keeps its id, its key and its first token over a restart', () => {
    const first = open();
    const token = ensureAdminToken(dir);
    releases.pop()?.();
    const second = open();
    expect(second.instance.id).toBe(first.instance.id);
    expect(second.instance.masterKey).toEqual(first.instance.masterKey);
    expect(first.instance.masterKey).toHaveLength(32);
    expect(ensureAdminToken(dir)).toBe(token);
    expect(token.length).toBeGreaterThanOrEqual(32);
  });

  it('is readable for its owner only', () => {
    open();
    ensureAdminToken(dir);
    expect(statSync(dir).mode & 0o077).toBe(0);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077, name).toBe(0);
  });

  it('holds no temporary files after it was opened', () => {
    open();
    expect(readdirSync(dir).sort()).toEqual(
      expect.arrayContaining(['instance.id', 'master.key', 'supervisor.lock', 'supervisor.pid', 'workers']),
    );
    expect(readdirSync(dir).filter((name) => /\.[0-9a-f]{8}$/.test(name))).toEqual([]);
  });

  it('refuses a second supervisor, also after its lock was removed', () => {
    open();
    rmSync(join(dir, 'supervisor.lock'));
    expect(() => openInstance(dir)).toThrow(expect.objectContaining({ code: 'already_running' }));
    releases.pop()?.();
    open();
  });

  it('refuses a second supervisor and names the pid of the first', () => {
    open();
    expect(() => openInstance(dir)).toThrow(
      expect.objectContaining({
        code: 'already_running',
        message: `state_dir "${dir}" is in use by a supervisor with pid ${process.pid}`,
      }),
    );
    expect(existsSync(join(dir, 'supervisor.pid'))).toBe(true);
    releases.pop()?.();
    open();
  });

  it('refuses a second supervisor, also when the pid file cannot be written or read', () => {
    mkdirSync(dir);
    execFileSync('mkfifo', [join(dir, 'supervisor.pid')]);
    open();
    expect(() => openInstance(dir)).toThrow(
      expect.objectContaining({
        code: 'already_running',
        message: `state_dir "${dir}" is in use by a supervisor`,
      }),
    );
  });

  it('with FIFOs in place of lock and database does not block a reader', () => {
    mkdirSync(dir);
    execFileSync('mkfifo', [join(dir, 'supervisor.lock'), join(dir, 'registry.db')]);
    expect(isSupervised(dir)).toBe(false);
    expect(openRegistryReader(dir)).toMatchObject({ unreadable: expect.stringContaining('no registry') });
  });

  it('is free again after its supervisor was killed', async () => {
    const url = new URL('../../../src/adapters/registry/instance-dir.ts', import.meta.url).href;
    const program = `import { openInstance } from ${JSON.stringify(url)};
      openInstance(${JSON.stringify(dir)}); console.log('open'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      expect(() => openInstance(dir)).toThrow(`with pid ${child.pid}`);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    open();
  });

  it('is refused when it is a file', () => {
    writeFileSync(dir, '');
    expect(() => openInstance(dir)).toThrow(
      expect.objectContaining({
        code: 'invalid_config',
        message: `state_dir: "${dir}" cannot be used: it is a file, not a directory`,
      }),
    );
  });

  it('is refused when it lies below a file', () => {
    writeFileSync(dir, '');
    expect(() => openInstance(join(dir, 'state'))).toThrow(
      expect.objectContaining({ code: 'invalid_config' }),
    );
  });

  it.each([
    ['master.key', 'short', 'it is not a key of curfew'],
    ['master.key', '', 'it is empty'],
    ['instance.id', '\n', 'it is empty'],
    ['instance.id', '../other\n', 'it is not an id of curfew'],
    ['instance.id', `${'a'.repeat(20)}/b\n`, 'it is not an id of curfew'],
  ])('with the %s %j is refused with the reason %j, and stays free', (name, text, why) => {
    open();
    releases.pop()?.();
    writeFileSync(join(dir, name), text);
    const path = join(dir, name);
    expect(() => openInstance(dir)).toThrow(
      expect.objectContaining({
        code: 'invalid_config',
        message: expect.stringContaining(`"${path}" cannot be used: ${why}`),
      }),
    );
    rmSync(path);
    open();
  });
});
