/** `curfew run` that dies, and the workers that a dead supervisor left: their guard, and `curfew cleanup`. */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CleanupView } from '../../src/api/cleanup-api.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, MAIN, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';
import { isAlive, killAll, pidsCalled } from '../support/processes/test-processes.ts';

const PYTHON = findPythonAgents();

let folder: string;
let runs: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'curfew-foreground-'));
  runs = [];
});
afterEach(() => {
  for (const one of runs) one.kill('SIGKILL');
  // The tag of each worker, and the state directory in the guard's arguments.
  killAll(pidsCalled(folder));
  rmSync(folder, { recursive: true, force: true });
});

const stateDirs = () => readdirSync(folder).filter((name) => name.startsWith('curfew-run-'));
const guards = () => pidsCalled(`end-run\0${folder}`);

/** Its worker has a grandchild with a kernel session of its own. */
async function startRun(): Promise<{ child: ChildProcess; tree: number[]; stateDir: string }> {
  const worker = join(ROOT, 'test/fixtures/workers/setsid-grandchild.py');
  const args = ['run', '--room', 'r', '--max-duration', '15s', '--', 'python3', worker, folder];
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: '/', TMPDIR: folder },
    stdio: 'ignore',
  });
  runs.push(child);
  const tree = await until(
    'the worker and its grandchild run',
    () => {
      const found = pidsCalled(`${worker}\0${folder}`).filter((pid) => pid !== child.pid);
      return found.length >= 2 ? found : undefined;
    },
    20_000,
  );
  return { child, tree, stateDir: join(folder, stateDirs()[0] ?? '') };
}

const run = promisify(execFile);
async function cleanup(...args: string[]): Promise<CleanupView> {
  const config = join(folder, 'curfew.yaml');
  writeFileSync(
    config,
    `state_dir: ${join(folder, 'state')}\nsweep: { grace: 1s }\nagents: { default: { command: ["true"] } }\n`,
  );
  const all = [MAIN, '--config', config, '--json', 'cleanup', ...args];
  const { stdout } = await run(process.execPath, all);
  return JSON.parse(stdout) as CleanupView;
}

it('a foreground run warns of a file that is not there', async () => {
  const args = [MAIN, 'run', '--room', 'r', '--', 'python3', 'agnet.py'];
  const env = { PATH: process.env.PATH ?? '', HOME: '/', TMPDIR: folder };
  const refused = run(process.execPath, args, { env, cwd: folder });
  const { stderr, code } = await refused.then(
    () => Promise.reject(new Error('the run ended well')),
    (error: { stderr: string; code: number }) => error,
  );
  expect(stderr).toContain(`curfew: warning: command: there is no file "${folder}/agnet.py"`);
  expect(code).toBe(12);
});

describe('a foreground run and its TMPDIR', () => {
  const runBelow = (dir: string, script: string) =>
    run(process.execPath, [MAIN, 'run', '--room', 'r', '--', 'sh', '-c', script], {
      env: { PATH: process.env.PATH ?? '', HOME: '/', TMPDIR: dir },
      cwd: folder,
    });

  it.each([
    ['too long for a socket', 'x'.repeat(90)],
    ['relative', 'temp'],
  ])('works below one that is %s', async (_what, name) => {
    mkdirSync(join(folder, name));
    const dir = name === 'temp' ? name : join(folder, name);
    const { stdout } = await runBelow(dir, 'cd / && test -S "$CURFEW_SOCKET" && echo there');
    expect(stdout).toContain('there');
    expect(readdirSync(join(folder, name))).toEqual([]);
  });

  it('says in one sentence that the folder is not there', async () => {
    const missing = join(folder, 'missing');
    const { stderr, code } = await runBelow(missing, 'true').then(
      () => Promise.reject(new Error('the run ended well')),
      (error: { stderr: string; code: number }) => error,
    );
    expect(stderr.replace(/\s+/g, ' ')).toContain(`TMPDIR: the run cannot make a folder below "${missing}"`);
    expect(stderr).not.toContain('    at ');
    expect(code).toBe(2);
  });
});

describe('a user without a name, as in a container that runs with any number', () => {
  const code = `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';
os.userInfo = os.homedir = () => { throw new Error('uv_os_get_passwd'); }; syncBuiltinESMExports();`;
  const command = (...args: string[]) =>
    run(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(code)}`, MAIN, ...args], {
      env: { PATH: process.env.PATH ?? '', TMPDIR: folder },
    });

  it('can run a call', async () => {
    const { stderr } = await command('run', '--room', 'r', '--', 'true');
    expect(stderr).toContain('completed');
  });

  it('can ask the supervisor, and hears what a cleanup without a home folder needs', async () => {
    const socket = join(folder, 'api.sock');
    const server = createServer((request, answer) => {
      const actor = String(request.headers['x-curfew-actor']);
      answer.end(JSON.stringify({ sessions: [], nextCursor: null, actor }));
    }).listen(socket);
    try {
      const { stdout } = await command('--socket', socket, '--json', 'list');
      expect(stdout).toContain('uid-');
    } finally {
      server.close();
    }
    const config = join(folder, 'curfew.yaml');
    writeFileSync(
      config,
      `state_dir: ${join(folder, 'state')}\nagents: { default: { command: ["true"] } }\n`,
    );
    const refused = await command('--config', config, 'cleanup').catch((error: { stderr: string }) => error);
    expect(refused.stderr.replace(/\s+/g, ' ')).toContain('set HOME or XDG_STATE_HOME');
  });
});

it('a command in a folder that was removed says so in one sentence', async () => {
  const script = 'mkdir gone && cd gone && rmdir "$PWD" && exec "$@"';
  const refused = await run('sh', ['-c', script, 'sh', process.execPath, MAIN, 'list'], {
    env: { PATH: process.env.PATH ?? '' },
    cwd: folder,
  }).catch((error: { stderr: string; code: number }) => error);
  expect(refused.stderr).toContain('the working folder of this command was removed');
  expect(refused.stderr).not.toContain('    at ');
});

describe('a foreground run that is killed', () => {
  it('leaves no worker, no escaped process of it, no state directory and no guard', async () => {
    const { child, tree } = await startRun();
    child.kill('SIGKILL');
    await until('its whole tree is gone', () => !tree.some(isAlive), 30_000);
    await until('its state directory is gone', () => stateDirs().length === 0, 30_000);
    await until('its guard is gone', () => guards().length === 0);
  });

  it('leaves no guard when it ends in order', async () => {
    const { child } = await startRun();
    expect(guards().length).toBeGreaterThan(0);
    child.kill('SIGTERM');
    await until('its guard is gone', () => guards().length === 0, 30_000);
    expect(stateDirs()).toEqual([]);
  });
});

describe('workers whose supervisor is gone', () => {
  it('are shown as abandoned, and end only by a request that names their state directory', async () => {
    const { child, tree, stateDir } = await startRun();
    killAll(guards());
    child.kill('SIGKILL');
    const shown = await until(
      'they are older than the grace',
      async () => {
        const { verdicts } = await cleanup();
        return verdicts.find((one) => one.stateDir === stateDir && !one.why.includes('younger'));
      },
      20_000,
    );
    expect(shown).toMatchObject({ kind: 'abandoned', action: 'leave' });
    expect(shown.tree).toEqual(expect.arrayContaining(tree));
    await cleanup('--yes');
    expect(tree.every(isAlive)).toBe(true);
    const { plan, ended } = await until(
      'they are older than the grace of a cleanup that may end them',
      async () => {
        const { plan, verdicts } = await cleanup('--abandoned', stateDir);
        const ended = verdicts.filter((one) => one.action === 'kill').map((one) => one.stateDir);
        return ended.length > 0 ? { plan, ended } : null;
      },
    );
    expect(ended).toEqual([stateDir]);
    await cleanup('--apply', plan);
    expect(tree.some(isAlive)).toBe(false);
  });

  it('are those of a removed state directory, too, but never those of a living supervisor', async () => {
    const daemon = await new Daemon({
      config: { agents: { default: { command: ['sleep', '1000'] } } },
    }).start();
    try {
      const { body } = await daemon.dispatch({ room: 'r' });
      const { pid } = await daemon.reaches(body.id, ['live']);
      const verdictOf = async () =>
        (await cleanup('--abandoned', daemon.stateDir)).verdicts.find((one) => one.tree.includes(pid ?? 0));
      expect(await verdictOf()).toBeUndefined();
      rmSync(daemon.stateDir, { recursive: true, force: true });
      expect(await verdictOf()).toBeUndefined();
      daemon.signal('SIGKILL');
      await daemon.exited();
      expect(await verdictOf()).toMatchObject({ kind: 'abandoned', stateDir: daemon.stateDir });
      expect(readFileSync(`/proc/${pid}/stat`, 'latin1')).not.toBe('');
      killAll([pid ?? 0]);
    } finally {
      await daemon.close();
    }
  });
});

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('curfew run with a LiveKit agent', () => {
  it('serves one call as the agent has it, and ends with 0 after the caller hung up', async () => {
    const livekit = await LiveKit.start();
    const callers = new Callers(livekit);
    try {
      await callers.join('r', 'ann');
      const agent = [PYTHON ?? '', join(ROOT, 'test/fixtures/agents/waits.py'), 'start'];
      const args = ['run', '--room', 'r', '--protocol', 'livekit', '--', ...agent];
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: {
          PATH: process.env.PATH ?? '',
          HOME: '/',
          TMPDIR: folder,
          LIVEKIT_URL: livekit.url,
          LIVEKIT_API_KEY: KEY,
          LIVEKIT_API_SECRET: SECRET,
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      runs.push(child);
      let told = '';
      child.stderr.on('data', (chunk: Buffer) => {
        told += chunk.toString();
      });
      const agents = async () =>
        (await livekit.rooms.listParticipants('r')).filter(({ identity }) => identity !== 'ann');
      await until('the agent is in the room', async () => (await agents()).length === 1, 90_000).catch(
        (error: unknown) => {
          throw new Error(`${error}; the run told:\n${told}`);
        },
      );
      await callers.leave('r', 'ann');
      await until('the run has ended', () => child.exitCode !== null, 60_000);
      // The agent may close before curfew's grace after a hang-up is over.
      expect(told).toMatch(/released: (callers_left|completed)/);
      expect(child.exitCode).toBe(0);
    } finally {
      callers.kill();
      await livekit.close();
    }
  }, 180_000);
});
