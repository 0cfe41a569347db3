import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
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
/** The output of the fixture `shows.mjs` about its own process. */
const shownBy = async (id: string) => {
  await host.exitOf(id);
  return JSON.parse(host.logOf(id));
};

describe('the start of a worker', () => {
  it('reports shim and command, and records them in a folder that only the owner can read', async () => {
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

  it('reports the exit of a short command after the start has resolved', async () => {
    const { id, process: started } = await host.start(['true']);
    expect(host.exits.get(id)).toBeUndefined();
    expect(started.main).not.toBeNull();
    expect(await host.exitOf(id)).toMatchObject({ code: 0, signal: null });
    await host.treeGone(id);
    expect(host.trees.get(id)).toEqual([0]);
  });

  it('passes arguments and environment on unchanged', async () => {
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
    const shown = await shownBy(id);
    expect(shown.argv).toEqual(hostile);
    expect(shown.env).toMatchObject(env);
  });

  it('gives the worker the requested environment and nothing else', async () => {
    const profile = { env: { A: '1', B: '1', GIVEN: 'no' }, passEnv: ['GIVEN', 'MISSING'], cwd: '/' };
    const { id } = await host.start(fixture('shows.mjs'), {
      profile,
      env: { B: '2', CURFEW_WORKER: 'forged' },
    });
    const shown = await shownBy(id);
    const { PWD, OLDPWD, SHLVL, _, ...env } = shown.env;
    expect(env).toEqual({
      PATH: process.env.PATH,
      HOME: '/h',
      LC_TIME: 'C',
      A: '1',
      B: '2',
      GIVEN: 'g',
      CURFEW_WORKER: `${host.instance.id}/${id}`,
    });
    expect(shown.cwd).toBe('/');
  });

  it('leaves no descriptor of the supervisor open in the worker', async () => {
    const { id } = await host.start(fixture('shows.mjs'));
    const shown = await shownBy(id);
    const log = host.workers.logPath(id);
    const [stdin, stdout, stderr, ...others] = Object.values<string>(shown.fds);
    expect([stdin, stdout, stderr]).toEqual(['/dev/null', log, log]);
    expect(others.filter((one) => !/^anon_inode:|^pipe:|^\/dev\/(null|urandom)$|^\/proc/.test(one))).toEqual(
      [],
    );
  });
});

describe('the failed start of a worker', () => {
  it.each([
    ['no-such-command-here', 'was not found: it is not in'],
    ['/no/such/command', 'there is no /no/such/command'],
    ['./no-such', 'there is no'],
    ['/etc/passwd', 'is not executable'],
    ['/etc', 'is not executable'],
    ['', 'was not found'],
    ['bad\0name', ''],
  ])('names the command %j and the reason', async (command, text) => {
    const failed = host.start([command]);
    await expect(failed).rejects.toMatchObject({
      code: 'spawn_failed',
      message: expect.stringContaining(text),
    });
    expect(host.marked()).toEqual([]);
  });

  it.skipIf(realpathSync('/bin/sh').endsWith('bash'))(
    'names the script when its interpreter is missing',
    async () => {
      const script = join(host.instance.stateDir, 'script');
      writeFileSync(script, '#!/no/such/interpreter\n', { mode: 0o755 });
      const failed = host.start([script], { id: 'w1' });
      await expect(failed).rejects.toMatchObject({
        code: 'spawn_failed',
        message: expect.stringContaining(script),
      });
      expect([host.exits.size, host.trees.size, host.marked()]).toEqual([0, 0, []]);
    },
  );

  it.each([126, 127])('is not reported for a command that exits with %i', async (code) => {
    const { id } = await host.start(['sh', '-c', `exit ${code}`]);
    expect(await host.exitOf(id)).toMatchObject({ code, signal: null });
  });

  it('names a missing working folder and an invalid variable', async () => {
    const inNowhere = host.start(['true'], { profile: { cwd: '/no/such/folder' } });
    await expect(inNowhere).rejects.toThrow('/no/such/folder is not a folder');
    await expect(host.start(['true'], { env: { 'A-B': '1' } })).rejects.toThrow('"A-B" has no valid name');
    await expect(host.start(['true'], { env: { A: 'x'.repeat(200_000) } })).rejects.toThrow(/E2BIG/);
  });

  it('runs nothing when the claim file exists already', async () => {
    const folder = join(host.instance.workersDir, 'w1');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'claim'), 'voided');
    const proof = join(host.instance.stateDir, 'proof');
    await expect(host.start(['touch', proof], { id: 'w1' })).rejects.toThrow('another start has its claim');
    expect(existsSync(proof)).toBe(false);
    expect(readFileSync(join(folder, 'claim'), 'utf8')).toBe('voided');
  });

  it('is reported for one of two concurrent starts with the same id', async () => {
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
  ])('is reported for the id %j, which cannot name a folder', async (id) => {
    await expect(host.start(['true'], { id })).rejects.toThrow('cannot name a folder');
    expect(() => host.workers.logPath(workerId(id))).toThrow('cannot name a folder');
  });
});

describe('a worker that is killed while the disk delays its start', () => {
  it('fails its start at once, is reported as gone only after the start is over, and never runs', async () => {
    const folder = join(host.instance.workersDir, 'w1');
    const proof = join(host.instance.stateDir, 'proof');
    mkdirSync(folder, { recursive: true });
    // A FIFO blocks the open call until a reader opens it.
    execFileSync('mkfifo', [join(folder, 'log')]);
    const failed = host.start(['touch', proof], { id: 'w1' }).catch((error: unknown) => error);
    await until('all files but the log exist', () => existsSync(join(folder, 'record.json')));
    const id = workerId('w1');
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) host.workers.signal(id, signal);
    for (const one of [id, workerId('never')]) host.workers.reap(one);
    await host.treeGone('never');
    expect(host.trees.has(id)).toBe(false);
    expect(await failed).toMatchObject({
      code: 'spawn_failed',
      message: 'the worker was ended before it started',
    });
    await expect(host.start(['true'], { id: 'w1' })).rejects.toThrow('started before');

    const log = openSync(join(folder, 'log'), constants.O_RDONLY | constants.O_NONBLOCK);
    await until('it is reported as gone', () => {
      host.workers.reap(id);
      return host.trees.has(id);
    });
    closeSync(log);
    expect([existsSync(join(folder, 'claim')), existsSync(proof), host.marked()]).toEqual([false, false, []]);
  });
});

describe('the exit status of a worker', () => {
  it.each([0, 1, 2, 42, 125, 128, 160, 191, 255])('is reported as the exit code %i', async (code) => {
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
  ])('is reported for signal %i as %s', async (number, signal) => {
    const { id } = await host.start(fixture('ends.sh', 'signal', String(number)));
    expect(await host.exitOf(id)).toMatchObject({ code: null, signal });
    await host.treeGone(id);
    expect(host.exits.get(id)).toHaveLength(1);
    expect(host.logOf(id)).toBe('');
    expect(readFileSync(join(host.instance.workersDir, id, 'status'), 'utf8')).toBe(`${128 + number}\n`);
  });

  it('is unknown when the shim was killed, and the worker lives until its own end', async () => {
    const { id, process: started } = await host.startUp(fixture('ignores-term.sh'));
    process.kill(started.shim.pid, 'SIGKILL');
    await until('it is logged', () => host.warnings.some((one) => one.includes('the worker keeps running')));
    expect(host.exits.get(id)).toBeUndefined();
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    expect(await host.exitOf(id)).toMatchObject({ code: null, signal: null });
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(host.marked()).toEqual([]);
  });

  it('is read again when the first reading fails because no more files can be opened', async () => {
    const script = resolve(import.meta.dirname, '../../fixtures/scripts/loses-sight.mjs');
    const { id, stateDir } = host.instance;
    const args = ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, script, id, stateDir];
    const { stdout } = await promisify(execFile)('sh', args);
    expect(JSON.parse(stdout)).toEqual([{ code: null, signal: null }]);
  });

  it('is reported although the shim was suspended', async () => {
    const { id, process: started } = await host.start(['sleep', '60']);
    process.kill(started.shim.pid, 'SIGSTOP');
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    expect(await host.exitOf(id)).toMatchObject({ signal: 'SIGKILL' });
    await host.treeGone(id);
  });
});

/** As on a host without spare CPU time. */
describe('the exit status from a slow shim', () => {
  it('is awaited, and the shim is woken when it is suspended', async () => {
    const script = 'trap "exit 0" TERM; echo up; while :; do sleep 0.05; done';
    const { id, process: started } = await host.startUp(['sh', '-c', script]);
    const status = join(host.instance.workersDir, id, 'status');
    // A FIFO blocks the open call of the shim until a reader opens it.
    execFileSync('mkfifo', [status]);
    process.kill(started.main?.pid ?? 0, 'SIGTERM');
    await until('the worker has ended', () => !isAlive(started.main?.pid ?? 0));
    for (const round of ['first', 'second', 'third']) {
      process.kill(started.shim.pid, 'SIGSTOP');
      await until('it is stopped', () => stateOf(started.shim.pid) === 'T');
      await until(`the ${round} re-check wakes it`, () => stateOf(started.shim.pid) !== 'T');
    }
    expect(host.exits.get(id)).toBeUndefined();
    const reader = openSync(status, constants.O_RDONLY | constants.O_NONBLOCK);
    expect(await host.exitOf(id)).toMatchObject({ code: 0, signal: null });
    closeSync(reader);
  });
});

describe('the pruning of worker folders', () => {
  it('removes old folders except those in use and those to be kept', async () => {
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
    const existing = [running, ended, 'kept', 'empty', 'stray-file'].filter((one) =>
      existsSync(join(workersDir, one)),
    );
    expect(existing).toEqual([running, 'kept', 'stray-file']);
    expect(await host.workers.prune(2000, new Set([workerId('kept')]))).toBe(0);
  });

  it('removes a folder whose paths its worker made too long, and the folder of another worker', async () => {
    const { workersDir } = host.instance;
    const [deep, plain] = ['deep', 'plain'].map((name) => join(workersDir, name));
    for (const path of [deep, plain]) mkdirSync(path ?? '', { recursive: true });
    const dig = 'import os\nfor _ in range(30): os.mkdir("x" * 200); os.chdir("x" * 200)';
    expect(spawnSync('python3', ['-c', dig], { cwd: deep ?? '' }).status).toBe(0);
    for (const path of [deep, plain]) utimesSync(path ?? '', 1, 1);
    expect(await host.workers.prune(2000, new Set())).toBe(2);
    expect(readdirSync(workersDir)).toEqual([]);
  });

  it('removes nothing when there are no folders', async () => {
    expect(await host.workers.prune(Date.now(), new Set())).toBe(0);
  });
});

describe('the close of the workers adapter', () => {
  it('ends no worker and reports nothing more', async () => {
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
