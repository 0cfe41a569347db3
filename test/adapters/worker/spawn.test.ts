import { execFile, execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { parseStat } from '../../../src/process/proc-files.ts';
import { until } from '../../support/lib/wait.ts';
import { isAlive } from '../../support/processes/test-processes.ts';
import { fixture, openWorkers } from '../../support/workers/workers-rig.ts';

let host: ReturnType<typeof openWorkers>;
beforeEach(() => {
  host = openWorkers({ env: { PATH: process.env.PATH, HOME: '/h', LC_TIME: 'C', SECRET: 's', GIVEN: 'g' } });
});
afterEach(() => host.dispose());

const stateOf = (pid: number) => parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.state;
const mode = (path: string) => statSync(path).mode & 0o777;
const shown = async (id: string) => {
  await host.exitOf(id);
  return JSON.parse(host.logOf(id));
};

describe('a start', () => {
  it('tells both processes and keeps them in a folder of the owner alone', async () => {
    const { id, process: started } = await host.start(['sleep', '60'], { record: { session: 's1' } });
    const folder = join(host.instance.workersDir, id);
    expect(started.main?.pid).not.toBe(started.shim.pid);
    expect(readFileSync(`/proc/${started.main?.pid}/cmdline`, 'latin1')).toContain('sleep\x0060\0');
    await until('the record with identities', () =>
      readFileSync(join(folder, 'record.json'), 'utf8').includes('shim'),
    );
    expect(JSON.parse(readFileSync(join(folder, 'record.json'), 'utf8'))).toEqual({
      session: 's1',
      process: started,
    });
    expect(mode(folder)).toBe(0o700);
    for (const file of ['record.json', 'claim', 'pid', 'log']) expect(mode(join(folder, file))).toBe(0o600);
    expect(readFileSync(join(folder, 'claim'), 'latin1')).toMatch(new RegExp(`^${started.shim.pid} `));
    expect(host.workers.logPath(id)).toBe(join(folder, 'log'));
  });

  it('tells the end of a command that is gone at once, after the start', async () => {
    const { id, process: started } = await host.start(['true']);
    expect(host.exits.get(id)).toBeUndefined();
    expect(started.main).not.toBeNull();
    expect(await host.exitOf(id)).toMatchObject({ code: 0, signal: null });
    await host.treeGone(id);
    expect(host.trees.get(id)).toEqual([0]);
  });

  it('passes arguments and environment on as they are', async () => {
    const hostile = [
      '$(touch /tmp/x)',
      '`id`',
      "a'b",
      'a"b',
      'a\nb',
      '',
      '-n',
      '*',
      '\\',
      '; exit 9',
      '$HOME',
    ];
    const env = { CURFEW_ROOM: '$(id)`id`\'"\n;\\ *', EMPTY: '', UNICODE: '☎ é\u{1F600}' };
    const { id } = await host.start(fixture('shows.mjs', ...hostile), { env });
    const said = await shown(id);
    expect(said.argv).toEqual(hostile);
    expect(said.env).toMatchObject(env);
  });

  it('gives the environment that was asked for and nothing else', async () => {
    const profile = { env: { A: '1', B: '1', GIVEN: 'no' }, passEnv: ['GIVEN', 'MISSING'], cwd: '/' };
    const { id } = await host.start(fixture('shows.mjs'), {
      profile,
      env: { B: '2', CURFEW_WORKER: 'forged' },
    });
    const said = await shown(id);
    const { PWD, OLDPWD, SHLVL, _, ...env } = said.env;
    expect(env).toEqual({
      PATH: process.env.PATH,
      HOME: '/h',
      LC_TIME: 'C',
      A: '1',
      B: '2',
      GIVEN: 'g',
      CURFEW_WORKER: `${host.instance.id}/${id}`,
    });
    expect(said.cwd).toBe('/');
  });

  it('leaves no descriptor of the supervisor open', async () => {
    const { id } = await host.start(fixture('shows.mjs'));
    const said = await shown(id);
    const log = host.workers.logPath(id);
    expect([said.fds[0], said.fds[1], said.fds[2]]).toEqual(['/dev/null', log, log]);
    const others = Object.values<string>(said.fds).slice(3);
    expect(others.filter((one) => !/^anon_inode:|^pipe:|^\/dev\/(null|urandom)$|^\/proc/.test(one))).toEqual(
      [],
    );
  });
});

describe('a start that fails', () => {
  it.each([
    ['no-such-command-here', 'was not found: it is not in'],
    ['/no/such/command', 'there is no /no/such/command'],
    ['./no-such', 'there is no'],
    ['/etc/passwd', 'is not executable'],
    ['/etc', 'is not executable'],
    ['', 'was not found'],
    ['bad\0name', ''],
  ])('names the command %j', async (command, text) => {
    const failed = host.start([command]);
    await expect(failed).rejects.toMatchObject({
      code: 'spawn_failed',
      message: expect.stringContaining(text),
    });
    expect(host.marked()).toEqual([]);
  });

  it.skipIf(realpathSync('/bin/sh').endsWith('bash'))('names a script without its interpreter', async () => {
    const script = join(host.instance.stateDir, 'script');
    writeFileSync(script, '#!/no/such/interpreter\n', { mode: 0o755 });
    const failed = host.start([script], { id: 'w1' });
    await expect(failed).rejects.toMatchObject({
      code: 'spawn_failed',
      message: expect.stringContaining(script),
    });
    expect([host.exits.size, host.trees.size, host.marked()]).toEqual([0, 0, []]);
  });

  it.each([126, 127])('is not a command that exits with %i by itself', async (code) => {
    const { id } = await host.start(['sh', '-c', `exit ${code}`]);
    expect(await host.exitOf(id)).toMatchObject({ code, signal: null });
  });

  it('names the working folder, and a variable that cannot be', async () => {
    const inNowhere = host.start(['true'], { profile: { cwd: '/no/such/folder' } });
    await expect(inNowhere).rejects.toThrow('/no/such/folder is not a folder');
    await expect(host.start(['true'], { env: { 'A-B': '1' } })).rejects.toThrow('"A-B" has no valid name');
    await expect(host.start(['true'], { env: { A: 'x'.repeat(200_000) } })).rejects.toThrow(/E2BIG/);
  });

  it('never goes on where the claim was taken', async () => {
    const folder = join(host.instance.workersDir, 'w1');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'claim'), 'voided');
    const proof = join(host.instance.stateDir, 'proof');
    await expect(host.start(['touch', proof], { id: 'w1' })).rejects.toThrow('claimed before');
    expect(existsSync(proof)).toBe(false);
    expect(readFileSync(join(folder, 'claim'), 'utf8')).toBe('voided');
  });

  it('starts one of two with the same id', async () => {
    const both = await Promise.allSettled([1, 2].map(() => host.start(['sleep', '60'], { id: 'w1' })));
    expect(both.map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(host.start(['sleep', '60'], { id: 'w1' })).rejects.toThrow('started before');
  });

  it.each([
    '../evil',
    'a/b',
    '.',
    '..',
    '',
    '.hidden',
    'a\0b',
    'x'.repeat(200),
  ])('refuses the id %j', async (id) => {
    await expect(host.start(['true'], { id })).rejects.toThrow('cannot name a folder');
    expect(() => host.workers.logPath(workerId(id))).toThrow('cannot name a folder');
  });
});

describe('a start that is ended while the disk hangs', () => {
  it('is over at once, is not told to be gone while it is under way, and nothing of it ever runs', async () => {
    const folder = join(host.instance.workersDir, 'w1');
    const proof = join(host.instance.stateDir, 'proof');
    mkdirSync(folder, { recursive: true });
    // It opens for nobody until somebody reads.
    execFileSync('mkfifo', [join(folder, 'log')]);
    const failed = host.start(['touch', proof], { id: 'w1' }).catch((error: unknown) => error);
    await until('all but the log is there', () => existsSync(join(folder, 'record.json')));
    const id = workerId('w1');
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) host.workers.signal(id, signal);
    for (const one of [id, workerId('never')]) host.workers.reap(one);
    await host.treeGone('never');
    expect(host.trees.has(id)).toBe(false);
    expect(await failed).toMatchObject({ code: 'spawn_failed', message: 'it was ended before it ran' });
    await expect(host.start(['true'], { id: 'w1' })).rejects.toThrow('started before');

    const log = openSync(join(folder, 'log'), constants.O_RDONLY | constants.O_NONBLOCK);
    await until('it is told to be gone', () => {
      host.workers.reap(id);
      return host.trees.has(id);
    });
    closeSync(log);
    expect([existsSync(join(folder, 'claim')), existsSync(proof), host.marked()]).toEqual([false, false, []]);
  });
});

describe('the exit status', () => {
  it.each([0, 1, 2, 42, 125, 128, 160, 191, 255])('code %i', async (code) => {
    const { id } = await host.start(fixture('ends.sh', 'exit', String(code)));
    expect(await host.exitOf(id)).toMatchObject({ code, signal: null });
  });

  it.each([
    [1, 'SIGHUP'],
    [2, 'SIGINT'],
    [3, 'SIGQUIT'],
    [6, 'SIGABRT'],
    [9, 'SIGKILL'],
    [11, 'SIGSEGV'],
    [15, 'SIGTERM'],
    [31, 'SIGSYS'],
    [64, 'SIGRTMAX'],
  ])('signal %i', async (number, signal) => {
    const { id } = await host.start(fixture('ends.sh', 'signal', String(number)));
    expect(await host.exitOf(id)).toMatchObject({ code: null, signal });
    await host.treeGone(id);
    expect(host.exits.get(id)).toHaveLength(1);
    expect(host.logOf(id)).toBe('');
    expect(readFileSync(join(host.instance.workersDir, id, 'status'), 'utf8')).toBe(`${128 + number}\n`);
  });

  it('is unknown when the shim was killed, and the worker goes on until its own end', async () => {
    const { id, process: started } = await host.startUp(fixture('ignores-term.sh'));
    process.kill(started.shim.pid, 'SIGKILL');
    await until('it is said', () => host.warnings.some((one) => one.includes('the worker goes on')));
    expect(host.exits.get(id)).toBeUndefined();
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    expect(await host.exitOf(id)).toMatchObject({ code: null, signal: null });
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(host.marked()).toEqual([]);
  });

  it('is looked for again when the look fails because no more files can be opened', async () => {
    const script = resolve(import.meta.dirname, '../../fixtures/scripts/loses-sight.mjs');
    const { id, stateDir } = host.instance;
    const args = ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, script, id, stateDir];
    const { stdout } = await promisify(execFile)('sh', args);
    expect(JSON.parse(stdout)).toEqual([{ code: null, signal: null }]);
  });

  it('is told although the shim was stopped', async () => {
    const { id, process: started } = await host.start(['sleep', '60']);
    process.kill(started.shim.pid, 'SIGSTOP');
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    expect(await host.exitOf(id)).toMatchObject({ signal: 'SIGKILL' });
    await host.treeGone(id);
  });
});

/** As on a host with no CPU to spare. */
describe('a shim that is slow to write the exit status', () => {
  it('is waited for', async () => {
    const script = 'trap "exit 0" TERM; echo up; while :; do sleep 0.05; done';
    const { id, process: started } = await host.startUp(['sh', '-c', script]);
    const status = join(host.instance.workersDir, id, 'status');
    // It opens for nobody until somebody reads.
    execFileSync('mkfifo', [status]);
    process.kill(started.main?.pid ?? 0, 'SIGTERM');
    await until('the worker has ended', () => !isAlive(started.main?.pid ?? 0));
    for (const look of ['first', 'second', 'third']) {
      process.kill(started.shim.pid, 'SIGSTOP');
      await until('it is stopped', () => stateOf(started.shim.pid) === 'T');
      await until(`the ${look} look wakes it`, () => stateOf(started.shim.pid) !== 'T');
    }
    expect(host.exits.get(id)).toBeUndefined();
    const reader = openSync(status, constants.O_RDONLY | constants.O_NONBLOCK);
    expect(await host.exitOf(id)).toMatchObject({ code: 0, signal: null });
    closeSync(reader);
  });
});

describe('the folders', () => {
  it('are removed when they are old, unless they are in use or to be kept', async () => {
    const { id: running } = await host.start(['sleep', '60']);
    const { id: ended } = await host.start(['true']);
    await host.treeGone(ended);
    host.workers.forget(ended);
    const { workersDir } = host.instance;
    mkdirSync(join(workersDir, 'kept'));
    mkdirSync(join(workersDir, 'empty'));
    writeFileSync(join(workersDir, 'stray-file'), '');
    for (const path of [join(running, 'log'), join(ended, 'log'), 'kept', 'empty', 'stray-file']) {
      utimesSync(join(workersDir, path), 1, 1);
    }
    expect(await host.workers.prune(2000, new Set([workerId('kept')]))).toBe(2);
    const there = [running, ended, 'kept', 'empty', 'stray-file'].filter((one) =>
      existsSync(join(workersDir, one)),
    );
    expect(there).toEqual([running, 'kept', 'stray-file']);
    expect(await host.workers.prune(2000, new Set([workerId('kept')]))).toBe(0);
  });

  it('need not be there', async () => {
    expect(await host.workers.prune(Date.now(), new Set())).toBe(0);
  });
});

describe('the end of the supervisor', () => {
  it('ends no worker and tells nothing more', async () => {
    const { id, process: started } = await host.start(['sleep', '60']);
    await host.workers.close();
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
    await expect(host.start(['true'])).rejects.toMatchObject({ code: 'stopping' });
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    await until('the status file', () => existsSync(join(host.instance.workersDir, id, 'status')));
    await until('the shim has gone', () => !isAlive(started.shim.pid));
    expect(host.exits.get(id)).toBeUndefined();
  });
});
