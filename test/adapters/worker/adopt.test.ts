/** Workers of a supervisor before this one: taken over by boot, pid and start time, all three. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorkers } from '../../../src/adapters/worker/host-workers.ts';
import { workerId } from '../../../src/core/ids.ts';
import { until } from '../../support/lib/wait.ts';
import { isAlive, killAll, nap, pidsCalled, pidsNapping } from '../../support/processes/test-processes.ts';
import { openWorkers } from '../../support/workers/workers-rig.ts';

let host: ReturnType<typeof openWorkers>;
beforeEach(() => {
  host = openWorkers();
});
afterEach(async () => {
  await host.dispose();
  // What has no mark, only its test knows.
  killAll([7200, 7300].flatMap(pidsNapping));
});

const ID = workerId('s-1.1');
const file = (name: string) => join(host.instance.workersDir, ID, name);

/** By this very process. */
function isWatched(path: string): boolean {
  const watch = new RegExp(`^inotify .* ino:${statSync(path).ino.toString(16)} `, 'm');
  return readdirSync('/proc/self/fdinfo').some((fd) => {
    try {
      return watch.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
    } catch {
      // It is closed already, as that of the list itself.
      return false;
    }
  });
}

/** The supervisor after this one, which has the same folders. */
async function next<T>(
  bootId: string,
  look: (workers: ReturnType<typeof createWorkers>, told: string[]) => Promise<T>,
  say: (fields: object, message: string) => void = () => undefined,
): Promise<T> {
  const told: string[] = [];
  const silent = () => undefined;
  const workers = createWorkers({
    instance: { ...host.instance, bootId },
    clock: {
      now: () => ({ bootMs: performance.now(), wallMs: Date.now() }),
      at: () => silent,
    },
    log: { debug: silent, info: silent, warn: say, error: say },
    listener: {
      exited: () => told.push('exited'),
      tree: (_, left) => told.push('tree', `left ${left}`),
      resources: silent,
    },
  });
  try {
    return await look(workers, told);
  } finally {
    await workers.close();
  }
}

describe('a worker of this boot', () => {
  it.each(['its record', 'its claim'])('is known by %s', async (by) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const known = by === 'its record' ? started : null;
    expect(await next('boot', (workers) => workers.adopt(ID, known))).toEqual({
      process: started,
      exit: null,
    });
  });

  it('is known by a claim as older versions wrote it', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    for (const name of ['claim', 'pid'])
      writeFileSync(file(name), readFileSync(file(name), 'latin1').replace(/ boot=.*/, ''));
    expect(await next('boot', (workers) => workers.adopt(ID, null))).toEqual({
      process: started,
      exit: null,
    });
  });
});

describe('a worker that wrote a status of its own', () => {
  it('is taken over as what it is: alive', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    writeFileSync(file('status'), '0\n');
    await next('boot', async (workers, told) => {
      expect(await workers.adopt(ID, started)).toEqual({ process: started, exit: null });
      expect(told).toEqual([]);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      await until('its true end is told', () => told.includes('exited'));
    });
  });
});

describe('a worker whose shim was killed', () => {
  it('leaves no watch behind when it is gone', async () => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    process.kill(started.shim.pid, 'SIGKILL');
    await next('boot', async (workers, told) => {
      await workers.adopt(ID, started);
      expect(isWatched(join(host.instance.workersDir, ID))).toBe(true);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      await until('its tree is gone', () => told.includes('tree'));
      await until('the watch is gone', () => !isWatched(join(host.instance.workersDir, ID)));
    });
  });
});

/** Its numbers are those of another worker that lives, as after a power cut. */
describe('a worker of another boot', () => {
  it.each([
    'its record',
    'its claim',
  ])('by %s is nobody: what has its numbers now is left alone', async (by) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const known = by === 'its record' ? started : null;
    await next('the boot after it', async (workers, told) => {
      expect(await workers.adopt(ID, known)).toBeNull();
      workers.signal(ID, 'SIGKILL');
      expect(told).not.toContain('exited');
    });
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
    expect(isAlive(started.shim.pid)).toBe(true);
  });
});

/** A daemon as any other: its first process, whose number group and session have, is gone. */
async function daemonised(seconds: string): Promise<{ group: number; pid: number }> {
  const child = spawn('sh', ['-c', `sleep ${seconds} & :`], { detached: true, stdio: 'ignore' });
  await once(child, 'exit');
  const pid = await until('it runs', () => pidsCalled(`sleep\0${seconds}`)[0]);
  return { group: child.pid ?? 0, pid };
}

describe('a worker whose shim was gone before anybody of this supervisor saw it', () => {
  it.each([
    true,
    false,
  ])('is not looked for by its number, another daemon by now (status: %s)', async (hasStatus) => {
    const { group, pid } = await daemonised(nap(7100));
    const identity = (startTicks: number) => ({ bootId: 'boot', pid: group, startTicks });
    mkdirSync(join(host.instance.workersDir, ID), { recursive: true });
    if (hasStatus) writeFileSync(file('status'), '0\n');
    const said: string[] = [];
    try {
      await next(
        'boot',
        async (workers, told) => {
          await workers.adopt(ID, { shim: identity(1), main: identity(2) });
          workers.signal(ID, 'SIGKILL');
          await until('it is gone', () => told.includes('left 0'));
        },
        (fields, message) => void said.push(`${message} ${JSON.stringify(fields)}`),
      );
      expect(isAlive(pid)).toBe(true);
      expect(said.join()).toContain(`"pids":[${pid}]`);
    } finally {
      killAll([pid]);
    }
  });

  it('is found with all of its group while one is in it that is its own', async () => {
    const { process: started } = await host.startUp(nameless(7200), { id: ID });
    process.kill(started.shim.pid, 'SIGKILL');
    await until('the shim is gone', () => !isAlive(started.shim.pid));
    await next('boot', async (workers, told) => {
      await workers.adopt(ID, started);
      workers.signal(ID, 'SIGKILL');
      await until('it is gone', () => told.includes('left 0'));
    });
    expect(pidsNapping(7200)).toEqual([]);
  });
});

describe('a worker whose shim this supervisor has seen', () => {
  it('is found with what stayed in its group and has neither mark nor parent any more', async () => {
    const { process: started } = await host.startUp(nameless(7300), { id: ID });
    await next('boot', async (workers, told) => {
      await workers.adopt(ID, started);
      process.kill(started.main?.pid ?? 0, 'SIGKILL');
      // Its shim writes the status and ends a moment later: it may have been counted.
      await until('what is left is told', () => told.some((word) => /^left [12]$/.test(word)));
      await until('its shim has ended', () => !isAlive(started.shim.pid));
      workers.signal(ID, 'SIGKILL');
      await until('it is gone', () => told.includes('left 0'));
    });
    expect(pidsNapping(7300)).toEqual([]);
  });
});

/** It leaves a process without a mark in its group. */
function nameless(seconds: number): [string, ...string[]] {
  return ['sh', '-c', `env -i sleep ${nap(seconds)} & echo up; wait; :`];
}

describe('a worker that is not known', () => {
  const asked = (id: string, what: 'reap' | 'SIGKILL') =>
    what === 'reap' ? host.workers.reap(workerId(id)) : host.workers.signal(workerId(id), what);

  it.each(['reap', 'SIGKILL'] as const)('any more is told to be gone at each %s', async (what) => {
    const { id } = await host.start(['true']);
    await host.treeGone(id);
    host.workers.forget(id);
    host.trees.clear();
    asked(id, what);
    await host.treeGone(id);
  });

  it.each([
    'reap',
    'SIGKILL',
  ] as const)('and lives is left, and is not told to be gone at a %s', async (what) => {
    const { process: started } = await host.start(['sleep', '60'], { id: ID });
    const said: string[] = [];
    const note = (_: object, message: string) => void said.push(message);
    await next(
      'boot',
      async (workers, told) => {
        if (what === 'reap') workers.reap(ID);
        else workers.signal(ID, what);
        await until('it is said', () => said.some((one) => one.includes('may still live')));
        expect(told).toEqual([]);
      },
      note,
    );
    expect(isAlive(started.main?.pid ?? 0)).toBe(true);
  });
});
