/** `container/curfew-init.sh` as PID 1 of a PID namespace, as in a container. Only root may make one. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Daemon, MAIN, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive, killAll, pidsCalled } from '../support/processes/test-processes.ts';

const UNSHARE = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
const INIT = ['sh', join(ROOT, 'container/curfew-init.sh')];
const CALLS = 50;
const PYTHON = findPythonAgents();
const mayUnshare = spawnSync('unshare', [...UNSHARE.slice(1), 'true']).status === 0;

let daemon: Daemon;
afterEach(async () => {
  // The end of PID 1 ends all processes of its namespace.
  killAll(pidsCalled(`serve\0--config\0${daemon.configPath}`));
  await daemon.close();
});

/** Each worker leaves two orphans: one ends at once, the other has its own kernel session and must be killed. */
const ORPHANS = ['sh', '-c', '(sh -c "exit 0" & setsid sleep 1000 & exit 0); exit 0'];
const config = {
  limits: { sessions: 300, start_rate: '1000/s', per_user: 'off' },
  agents: { default: { command: ['sleep', '1000'] }, orphans: { command: ORPHANS } },
};

/** The pid on this host of the process in the namespace. */
const pidOf = (command: readonly string[]) =>
  pidsCalled([...command, 'serve', '--config', daemon.configPath].join('\0')).at(-1) ?? 0;
const initPid = () => pidOf([...INIT, process.execPath, MAIN]);
const servePid = () =>
  pidsCalled(`${MAIN}\0serve\0--config\0${daemon.configPath}`).filter(
    (pid) => !/curfew-init|unshare/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1')),
  )[0] ?? 0;

function zombiesOf(parent: number): number {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(ppid) === parent;
    } catch {
      return false;
    }
  }).length;
}

const under = async (wrap: readonly string[], also: Record<string, unknown> = {}) => {
  daemon = await new Daemon({ config: { ...config, ...also }, wrap: [...UNSHARE, ...wrap] }).start();
};

describe.runIf(mayUnshare)('curfew as the first process of a namespace', () => {
  it(`with the init no zombie stays after ${CALLS} calls that leave orphans`, async () => {
    await under(INIT);
    const calls = await Promise.all(
      Array.from({ length: CALLS }, (_, at) => daemon.dispatch({ room: `r${at}`, agent: 'orphans' })),
    );
    for (const { body } of calls)
      expect(await daemon.ended(body.id, 60_000)).toMatchObject({ reason: 'completed' });
    await until('no zombie is left', () => zombiesOf(initPid()) === 0, 20_000);
  });

  it.runIf(HAS_LIVEKIT && PYTHON !== null)(
    'with the init no zombie stays after LiveKit agents that were ended by SIGKILL',
    async () => {
      const livekit = await LiveKit.start();
      try {
        const command = [PYTHON ?? '', join(ROOT, 'test/fixtures/agents/waits.py'), 'start'];
        const voice = { command, protocol: 'livekit', ...SLOW_START, error_limit: 1 };
        await under(INIT, { livekit: livekit.config('').livekit, agents: { voice } });
        const calls = await Promise.all(
          ['a', 'b', 'c'].map((room) => daemon.dispatch({ room, agent: 'voice' })),
        );
        for (const { body } of calls)
          await until(
            `${body.id} is live`,
            async () => (await daemon.session(body.id)).state === 'live',
            START_MS,
          );
        const workers = marked(daemon.instanceId());
        expect(workers.length).toBeGreaterThanOrEqual(3 * calls.length);
        killAll(workers.map(({ pid }) => pid));
        for (const { body } of calls)
          expect(await daemon.ended(body.id, 60_000)).toMatchObject({ state: 'failed' });
        await until('no zombie is left', () => zombiesOf(initPid()) === 0, 20_000);
      } finally {
        await livekit.close();
      }
    },
    240_000,
  );

  it('a killed supervisor is started again and adopts the live calls, and TERM ends all of it in order', async () => {
    await under(INIT);
    const { body } = await daemon.dispatch({ room: 'r' });
    const { pid } = await daemon.reaches(body.id, ['live']);
    await daemon.recorded(body.id, 'live');
    const first = servePid();
    killAll([first]);
    await until(
      'another supervisor answers',
      async () => {
        const answer = await daemon.get('/healthz').catch(() => null);
        return servePid() !== first && answer?.status === 200;
      },
      30_000,
    );
    expect(await daemon.session(body.id)).toMatchObject({ state: 'live', pid, restarts: 0 });
    process.kill(initPid(), 'SIGHUP');
    await until(
      'the config is read again',
      () => daemon.stdout.includes('reload') || daemon.stderr.includes('reload'),
    );
    process.kill(initPid(), 'SIGTERM');
    expect(await daemon.exited()).toBe(0);
  });

  it('HUP in a burst neither ends a supervisor that starts nor shortens the pause before it', async () => {
    await under(INIT);
    const first = servePid();
    killAll([first]);
    await until(
      'another supervisor answers',
      async () => {
        process.kill(initPid(), 'SIGHUP');
        const answer = await daemon.get('/healthz').catch(() => null);
        return servePid() !== first && answer?.status === 200;
      },
      30_000,
    );
    expect(daemon.stderr.match(/curfew-init: the supervisor ended/g)).toHaveLength(1);
    process.kill(initPid(), 'SIGTERM');
    expect(await daemon.exited()).toBe(0);
  });

  it('a first start that fails ends the init with the status of the supervisor', async () => {
    daemon = new Daemon({ config: { agents: { default: { command: [] } } }, wrap: [...UNSHARE, ...INIT] });
    await expect(daemon.start()).rejects.toThrow(/the daemon exited with [1-9]/);
  });

  it('without an init zombies stay, and the supervisor says what to do', async () => {
    await under([]);
    const { body } = await daemon.dispatch({ room: 'r', agent: 'orphans' });
    await daemon.ended(body.id);
    await until('a zombie stays', () => zombiesOf(servePid()) > 0);
    await until('its log names the init', () =>
      `${daemon.stdout}${daemon.stderr}`.includes('curfew-init.sh'),
    );
    expect(isAlive(daemon.pid)).toBe(true);
  });
});

/** The folder in which this user may make a cgroup with a limit of processes; null: none. */
function pidsHierarchy(): string | null {
  for (const folder of ['/sys/fs/cgroup/pids', '/sys/fs/cgroup']) {
    const group = join(folder, `curfew-try-${process.pid}`);
    try {
      mkdirSync(group);
      const works = existsSync(join(group, 'pids.max'));
      rmdirSync(group);
      if (works) return folder;
    } catch {
      // Another user, or another version of cgroups.
    }
  }
  return null;
}
const hierarchy = pidsHierarchy();

describe.runIf(hierarchy !== null)('a host without free processes', () => {
  const group = join(hierarchy ?? '', `curfew-pids-${process.pid}`);
  it('names the full limit, the number of processes and the remedy in the evidence of a call', async () => {
    mkdirSync(group);
    writeFileSync(join(group, 'pids.max'), '60');
    const enter = ['sh', '-c', `echo 0 >${group}/cgroup.procs; exec "$@"`, 'enter'];
    daemon = await new Daemon({ config, wrap: enter }).start();
    const calls = await Promise.all(
      Array.from({ length: 40 }, (_, at) => daemon.dispatch({ room: `r${at}` })),
    );
    const failed = await until('a call has ended', async () => {
      const seen = await Promise.all(calls.map(({ body }) => daemon.session(body.id)));
      return seen.find((one) => one.state === 'failed');
    });
    expect(failed.evidence?.detail).toMatch(/could not fork|EAGAIN/);
    expect(failed.evidence?.detail).toContain(`of 60 by ${group}/pids.max; raise the limit`);
    await daemon.close();
    await until('its cgroup is empty', () => tryTo(() => rmdirSync(group)));
  });
});

function tryTo(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
