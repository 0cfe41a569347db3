/** `curfew cleanup` and the supervisor's own cleanup, with a supervisor and without one. */
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CleanupView } from '../../src/api/cleanup-api.ts';
import { Daemon, MAIN } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';
import { beganEarlier } from '../support/sessions/recorded-sessions.ts';

/** No other process on this machine has this argument. */
const NAP = ['sleep', `1000${process.pid}`];
/** Far above the default maximum duration of a session. */
const A_DAY_MS = 24 * 3_600_000;
/** The supervisor also cleans up by the clock, at every multiple of this time. */
const SWEEP_EVERY_MS = 300_000;
const config = {
  log: { level: 'debug' },
  sweep: { grace: '1s' },
  limits: { start_rate: '1000/s' },
  agents: {
    default: { command: NAP },
  },
};

let daemon: Daemon;
beforeEach(async () => {
  daemon = await new Daemon({ config }).start();
});
afterEach(async () => {
  const instance = daemon.instanceId();
  await daemon.close();
  killAll(marked(instance).map((one) => one.pid));
});

const run = promisify(execFile);
async function cleanup(...args: string[]): Promise<{ code: number; sweep: CleanupView }> {
  const all = [MAIN, '--config', daemon.configPath, '--json', 'cleanup', ...args];
  try {
    const { stdout } = await run(process.execPath, all);
    return { code: 0, sweep: JSON.parse(stdout) as CleanupView };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, sweep: JSON.parse(stdout === '' ? stderr : stdout) as CleanupView };
  }
}

const live = async (room: string) => {
  const { body } = await daemon.dispatch({ room });
  const session = await daemon.reaches(body.id, ['live']);
  await daemon.recorded(session.id, 'live');
  return session;
};

async function killed(): Promise<void> {
  daemon.signal('SIGKILL');
  await daemon.exited();
}

/** Makes the record say that the session ended, although its worker lives. */
function recordAsEnded(id: string): void {
  const database = new DatabaseSync(join(daemon.stateDir, 'registry.db'));
  const row = database.prepare('SELECT body FROM sessions WHERE id = ?').get(id);
  const session = JSON.parse(String(row?.body));
  const at = { bootMs: 1, wallMs: Date.now() };
  const { startedAt, liveAt, work } = session.phase;
  const ending = { reason: 'requested', cause: 'release', at, by: null, detail: null };
  session.phase = {
    name: 'ended',
    startedAt,
    liveAt,
    endedAt: at,
    ending,
    worker: { ...work.worker, treeGone: true },
    records: [],
    roomEnd: null,
  };
  database
    .prepare('UPDATE sessions SET body = ?, state = ?, ended_wall_ms = ? WHERE id = ?')
    .run(JSON.stringify(session), 'released', at.wallMs, id);
  database.prepare('DELETE FROM claims WHERE session_id = ?').run(id);
  database.close();
}

const old = (pid: number | null) =>
  until(
    'the worker is older than the grace',
    async () => {
      const { sweep } = await cleanup('--match', NAP.join(' '));
      return sweep.verdicts.some((one) => one.tree.includes(pid ?? 0) && one.action === 'kill');
    },
    20_000,
  );

/**
 * A shell with the environment of a worker, as a person opens it to find a fault.
 * Each command gets a process group of its own, as at a terminal.
 */
async function shellOf(
  worker: string,
): Promise<{ pid: number; cleanup(...args: string[]): Promise<CleanupView> }> {
  const command = 'echo done; while read -r line; do eval "$line"; echo done; done';
  const shell = spawn('sh', ['-c', command], {
    env: { ...process.env, CURFEW_WORKER: `${daemon.instanceId()}/${worker}` },
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  let said = '';
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const done = () =>
    until(
      'the shell is done, or has ended',
      () => said.endsWith('done\n') || shell.exitCode !== null || shell.signalCode !== null,
      30_000,
    );
  await done();
  return {
    pid: shell.pid ?? 0,
    cleanup: async (...args) => {
      said = '';
      const all = [process.execPath, MAIN, '--config', daemon.configPath, '--json', 'cleanup', ...args];
      shell.stdin.write(`setsid ${all.map((one) => `'${one}'`).join(' ')} 2>/dev/null\n`);
      await done();
      return JSON.parse(said.replace(/done\n$/, '')) as CleanupView;
    },
  };
}

describe('a cleanup in a shell with the mark of an ended worker', () => {
  it.each([
    'with',
    'without',
  ])('a cleanup %s a supervisor leaves the shell that it runs in, and says why', async (how) => {
    const { id, pid } = await live('a');
    await daemon.release(id);
    await daemon.ended(id);
    expect(isAlive(pid ?? 0)).toBe(false);
    // Because: the supervisor's own cleanup would end the shell. Only a command that runs in the shell spares it.
    await until(
      'the first cleanup is over',
      () => daemon.stderr.includes('the first cleanup is done'),
      30_000,
    );
    const isFar = () => Date.now() % SWEEP_EVERY_MS < SWEEP_EVERY_MS - 20_000;
    await until('the next cleanup is far', isFar, 30_000);
    const shell = await shellOf(`${id}.1`);
    if (how === 'without') await killed();
    const dry = await until('the shell is older than the grace', async () => {
      const { sweep } = await cleanup();
      return sweep.verdicts.some((one) => one.tree.includes(shell.pid) && one.action === 'kill') && sweep;
    });
    const left = [
      { action: 'leave', pid: shell.pid, why: expect.stringContaining('this command runs in it') },
    ];
    expect((await shell.cleanup()).verdicts).toMatchObject(left);
    expect((await shell.cleanup('--yes')).verdicts).toMatchObject(left);
    expect((await shell.cleanup('--apply', dry ? dry.plan : '')).verdicts).toMatchObject(left);
    expect(isAlive(shell.pid)).toBe(true);
    // A command outside of the shell judges it by its mark.
    expect((await cleanup('--yes')).sweep.verdicts).toMatchObject([{ pid: shell.pid, outcome: 'ended' }]);
  });
});

describe('a cleanup without a supervisor', () => {
  it('a cleanup without a supervisor ends exactly the orphan of its plan, and reports the outcome', async () => {
    const [orphan, call] = [await live('a'), await live('b')];
    await killed();
    expect((await cleanup()).sweep).toMatchObject({ dryRun: true, verdicts: [] });
    recordAsEnded(orphan.id);
    await old(orphan.pid);
    const { sweep: dry } = await cleanup();
    expect(dry.verdicts).toMatchObject([
      { kind: 'orphan', action: 'kill', session: orphan.id, pid: orphan.pid, room: 'a' },
    ]);
    expect(isAlive(orphan.pid ?? 0)).toBe(true);
    const { code, sweep } = await cleanup('--apply', dry.plan);
    expect(code).toBe(0);
    expect(sweep.verdicts).toMatchObject([{ pid: orphan.pid, outcome: 'ended' }]);
    expect([isAlive(orphan.pid ?? 0), isAlive(call.pid ?? 0)]).toEqual([false, true]);
    expect((await cleanup('--apply', dry.plan)).sweep.verdicts).toMatchObject([{ outcome: 'gone' }]);
    await daemon.start();
    expect(await daemon.reaches(call.id, ['live'])).toMatchObject({ pid: call.pid, restarts: 0 });
  });

  it('a cleanup without a supervisor ends an overdue worker, and the next supervisor names the reason', async () => {
    const { id, pid } = await live('a');
    await killed();
    beganEarlier(daemon.stateDir, id, A_DAY_MS);
    await old(pid);
    const { sweep } = await cleanup('--yes');
    expect(sweep.verdicts).toMatchObject([{ kind: 'overdue', session: id, outcome: 'ended' }]);
    expect(isAlive(pid ?? 0)).toBe(false);
    expect((await cleanup()).sweep.remarks.join()).toContain(
      `session ${id} is recorded as live, but its worker is gone`,
    );
    await daemon.start();
    expect((await daemon.ended(id)).reason).toBe('max_duration');
  });

  it('a cleanup without a supervisor and without a database ends nothing', async () => {
    const { pid } = await live('a');
    await killed();
    const { rmSync } = await import('node:fs');
    for (const name of ['registry.db', 'registry.db-wal', 'registry.db-shm'])
      rmSync(join(daemon.dir, 'state', name), { force: true });
    const { sweep } = await cleanup('--yes');
    expect(sweep.remarks.join()).toContain('no registry');
    expect(sweep.verdicts.filter((one) => one.action === 'kill')).toEqual([]);
    expect(isAlive(pid ?? 0)).toBe(true);
  });
});

describe('a cleanup with a supervisor', () => {
  it('a cleanup leaves a live session alone, and an unknown plan is refused', async () => {
    const { pid } = await live('a');
    const { sweep } = await cleanup('--yes');
    expect(sweep.verdicts).toEqual([]);
    expect(isAlive(pid ?? 0)).toBe(true);
    expect((await cleanup('--apply', 'abc')).code).toBe(3);
    expect((await daemon.call('POST', '/v1/sweep', { plan: 'abc' })).status).toBe(400);
    expect((await daemon.call('POST', '/v1/sweep', {})).body).toMatchObject({ dryRun: true, verdicts: [] });
  });

  it('a cleanup leaves the sessions of a supervisor that hangs alone', async () => {
    const { pid } = await live('a');
    daemon.signal('SIGSTOP');
    const { code, sweep } = await cleanup('--yes');
    daemon.signal('SIGCONT');
    expect(code).toBe(0);
    expect(sweep.verdicts).toEqual([]);
    expect(isAlive(pid ?? 0)).toBe(true);
  });

  it('a cleanup leaves the workers of another instance on the same host alone', async () => {
    const other = await new Daemon({ config }).start();
    const { body } = await other.dispatch({ room: 'x' });
    const theirs = await other.reaches(body.id, ['live']);
    const { sweep } = await cleanup('--yes', '--match', NAP.join(' '));
    expect(sweep.verdicts).toEqual([]);
    expect(isAlive(theirs.pid ?? 0)).toBe(true);
    await other.close();
  });
});
