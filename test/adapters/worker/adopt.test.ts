/** Adoption of the workers of an earlier supervisor, by boot, pid and start time together. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorkers } from '../../../src/adapters/worker/host-workers.ts';
import { workerId } from '../../../src/core/ids.ts';
import { until } from '../../support/lib/wait.ts';
import { isAlive, killAll, nap, pidsCalled, pidsNapping } from '../../support/processes/test-processes.ts';
import { fixture, openWorkers } from '../../support/workers/workers-rig.ts';

let host: ReturnType<typeof openWorkers>;
beforeEach(() => {
  host = openWorkers();
});
afterEach(async () => {
  await host.dispose();
  // Because: these processes have no mark, so dispose cannot find them.
  killAll([7200, 7300].flatMap(pidsNapping));
});

const ID = workerId('s-1.1');
const file = (name: string) => join(host.instance.workersDir, ID, name);

/** Whether this process has an inotify watch on the path. */
function isWatched(path: string): boolean {
  const watch = new RegExp(`^inotify .* ino:${statSync(path).ino.toString(16)} `, 'm');
  return readdirSync('/proc/self/fdinfo').some((fd) => {
    try {
      return watch.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
    } catch {
      // Expected: the descriptor of the list itself is closed already.
      return false;
    }
  });
}

/** Opens the workers as the next supervisor does, on the same folders. */
async function asNext<T>(
  bootId: string,
  use: (workers: ReturnType<typeof createWorkers>, reports: string[]) => Promise<T>,
  onLog: (fields: object, message: string) => void = () => undefined,
): Promise<T> {
  const reports: string[] = [];
  const silent = () => undefined;
  const workers = createWorkers({
    instance: { ...host.instance, bootId },
    clock: {
      now: () => ({ bootMs: performance.now(), wallMs: Date.now() }),
      at: () => silent,
    },
    log: { debug: silent, info: silent, warn: onLog, error: onLog },
    listener: {
      exited: () => reports.push('exited'),
      tree: (_, left) => reports.push('tree', `left ${left}`),
      resources: silent,
      memoryLimit: () => null,
    },
  });
  try {
    return await use(workers, reports);
  } finally {
    await workers.close();
  }
}

describe('a worker of this boot', () => {
  it.each(['its record', 'its claim'])('is adopted by %s', async (by) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const known = by === 'its record' ? started : null;
    expect(await asNext('boot', (workers) => workers.adopt(ID, known))).toEqual({
      process: started,
      exit: null,
    });
  });

  it('is adopted by a claim in the format of older versions', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    for (const name of ['claim', 'pid'])
      writeFileSync(file(name), readFileSync(file(name), 'latin1').replace(/ boot=.*/, ''));
    expect(await asNext('boot', (workers) => workers.adopt(ID, null))).toEqual({
      process: started,
      exit: null,
    });
  });
});

describe('a worker that wrote its own status file', () => {
  it('is adopted as alive', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    writeFileSync(file('status'), '0\n');
    await asNext('boot', async (workers, reports) => {
      expect(await workers.adopt(ID, started)).toEqual({ process: started, exit: null });
      expect(reports).toEqual([]);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      await until('its true end is reported', () => reports.includes('exited'));
    });
  });
});

describe('an adopted worker with a killed shim', () => {
  it('leaves no inotify watch behind when it is gone', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    process.kill(started.shim.pid, 'SIGKILL');
    await asNext('boot', async (workers, reports) => {
      await workers.adopt(ID, started);
      expect(isWatched(join(host.instance.workersDir, ID))).toBe(true);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      await until('its tree is gone', () => reports.includes('tree'));
      await until('the watch is gone', () => !isWatched(join(host.instance.workersDir, ID)));
    });
  });
});

/** Another living worker has its pids, as after a power cut. */
describe('a worker of another boot', () => {
  it.each([
    'its record',
    'its claim',
  ])('is not adopted by %s, and the process that has its pid now is spared', async (by) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const known = by === 'its record' ? started : null;
    await asNext('the next boot', async (workers, reports) => {
      expect(await workers.adopt(ID, known)).toBeNull();
      workers.signal(ID, 'SIGKILL');
      expect(reports).not.toContain('exited');
    });
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
    expect(isAlive(started.shim.pid)).toBe(true);
  });
});

/** Any other daemon. Its first process, which named group and session, is gone. */
async function daemonised(seconds: string): Promise<{ group: number; pid: number }> {
  const child = spawn('sh', ['-c', `sleep ${seconds} & :`], { detached: true, stdio: 'ignore' });
  await once(child, 'exit');
  const pid = await until('it runs', () => {
    const [found] = pidsCalled(`sleep\0${seconds}`);
    return found;
  });
  return { group: child.pid ?? 0, pid };
}

describe('an adopted worker with a shim that was gone before the adoption', () => {
  it.each([
    true,
    false,
  ])('is not searched by its group number, which another daemon has by now (status file: %s)', async (hasStatus) => {
    const { group, pid } = await daemonised(nap(7100));
    const identity = (startTicks: number) => ({ bootId: 'boot', pid: group, startTicks });
    mkdirSync(join(host.instance.workersDir, ID), { recursive: true });
    if (hasStatus) writeFileSync(file('status'), '0\n');
    const logged: string[] = [];
    try {
      await asNext(
        'boot',
        async (workers, reports) => {
          await workers.adopt(ID, { shim: identity(1), main: identity(2) });
          workers.signal(ID, 'SIGKILL');
          await until('it is gone', () => reports.includes('left 0'));
        },
        (fields, message) => void logged.push(`${message} ${JSON.stringify(fields)}`),
      );
      expect(isAlive(pid)).toBe(true);
      expect(logged.join()).toContain(`"pids":[${pid}]`);
    } finally {
      killAll([pid]);
    }
  });

  it('is found with its whole group while a marked process is in the group', async () => {
    const { process: started } = await host.startUp(leavesUnmarked(7200), { id: ID });
    process.kill(started.shim.pid, 'SIGKILL');
    await until('the shim is gone', () => !isAlive(started.shim.pid));
    await asNext('boot', async (workers, reports) => {
      await workers.adopt(ID, started);
      workers.signal(ID, 'SIGKILL');
      await until('it is gone', () => reports.includes('left 0'));
    });
    expect(pidsNapping(7200)).toEqual([]);
  });
});

describe('an adopted worker with a shim that was alive at the adoption', () => {
  it('is found with a process of its group that has lost mark and parent', async () => {
    const { process: started } = await host.startUp(leavesUnmarked(7300), { id: ID });
    await asNext('boot', async (workers, reports) => {
      await workers.adopt(ID, started);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      // Race: the shim writes the status and ends a moment later, so it can be counted once more.
      await until('the rest of the tree is reported', () => reports.some((word) => /^left [12]$/.test(word)));
      await until('its shim has ended', () => !isAlive(started.shim.pid));
      workers.signal(ID, 'SIGKILL');
      await until('it is gone', () => reports.includes('left 0'));
    });
    expect(pidsNapping(7300)).toEqual([]);
  });
});

/** A command that leaves a process without a mark in its group. */
function leavesUnmarked(seconds: number): [string, ...string[]] {
  return ['sh', '-c', `env -i sleep ${nap(seconds)} & echo up; wait; :`];
}

describe('a worker that is not known', () => {
  const order = (id: string, what: 'reap' | 'SIGKILL') =>
    what === 'reap' ? host.workers.reap(workerId(id)) : host.workers.signal(workerId(id), what);

  it.each(['reap', 'SIGKILL'] as const)('any more is reported as gone after each %s', async (what) => {
    const { id } = await host.start(['true']);
    await host.treeGone(id);
    host.workers.forget(id);
    host.trees.clear();
    order(id, what);
    await host.treeGone(id);
  });

  it.each([
    'reap',
    'SIGKILL',
  ] as const)('but still lives is spared, and a %s does not report it as gone', async (what) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const logged: string[] = [];
    const note = (_: object, message: string) => void logged.push(message);
    await asNext(
      'boot',
      async (workers, reports) => {
        if (what === 'reap') workers.reap(ID);
        else workers.signal(ID, what);
        await until('it is logged', () => logged.some((one) => one.includes('may still live')));
        expect(reports).toEqual([]);
      },
      note,
    );
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
  });
});

describe('a worker that has had its SIGTERM', () => {
  it('gets no second one of the next supervisor, and SIGKILL as ever', async () => {
    const { process: started } = await host.start(fixture('counts-term.py', 'stubborn'), { id: ID });
    await until('it handles SIGTERM', () => host.logOf(ID).includes('ready'));
    const terms = () => host.logOf(ID).match(/TERM/g)?.length ?? 0;
    host.workers.signal(ID, 'SIGTERM', 'main');
    await until('the first SIGTERM is noted', () => terms() === 1 && existsSync(file('terms')));
    await asNext('boot', async (workers, reports) => {
      await workers.adopt(ID, started);
      workers.signal(ID, 'SIGTERM', 'main');
      workers.reap(ID);
      await until('it is scanned', () => reports.includes('tree'));
      expect(terms()).toBe(1);
      workers.signal(ID, 'SIGKILL');
      await until('it is gone', () => reports.includes('left 0'));
    });
  });
});
