import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorkers } from '../../src/adapters/worker/host-workers.ts';
import { workerId } from '../../src/core/ids.ts';
import type { WorkerProcess } from '../../src/core/model/worker.ts';
import { cgroupPids, killCgroup, removeCgroup } from '../../src/process/cgroup.ts';
import { until } from '../support/lib/wait.ts';
import { isAlive, killAll, pidsCalled } from '../support/processes/test-processes.ts';
import { canGroup, fixture, openWorkers } from '../support/workers/workers-rig.ts';

let host: ReturnType<typeof openWorkers>;
beforeEach(() => {
  host = openWorkers({ grouped: true });
});
afterEach(async () => {
  await host.dispose();
  // A process without a mark is found by its arguments only.
  killAll(pidsCalled(tag));
});

/** In the arguments of the processes that this file starts. */
const tag = randomUUID();
const groupOf = (id: string) => join(host.cgroups?.path ?? '', `w-${id}`);

describe.runIf(canGroup())("a worker's cgroup", () => {
  it('holds the command and its children, but not the shim', async () => {
    const { id, process } = await host.startUp(fixture('setsid-grandchild.py'));
    const inside = cgroupPids(groupOf(id));
    expect(inside).toContain(process.main?.pid);
    expect(inside).not.toContain(process.shim.pid);
    expect(inside).toHaveLength(2);
  });

  it('is removed with the tree, and the exit status is still reported', async () => {
    const { id } = await host.start(['sh', '-c', 'exit 3']);
    expect(await host.exitOf(id)).toMatchObject({ code: 3 });
    host.workers.reap(id);
    await host.treeGone(id);
    expect(existsSync(groupOf(id))).toBe(false);
  });

  it('holds a process that lost mark, group, session and parent before the first scan', async () => {
    const { id } = await host.startUp(fixture('nameless-escape.py', tag));
    const [escaped] = pidsCalled(`${tag}\0child`);
    expect(isAlive(escaped ?? 0)).toBe(true);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(isAlive(escaped ?? 0)).toBe(false);
  });

  it('is removed with the groups inside', async () => {
    const { id, process } = await host.startUp(fixture('setsid-grandchild.py'));
    mkdirSync(join(groupOf(id), 'inner'));
    expect(isAlive(process.main?.pid ?? 0)).toBe(true);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(existsSync(groupOf(id))).toBe(false);
  });

  it('is found by the next supervisor, which hears of the exit at once', async () => {
    const { id, process } = await host.start(['sleep', '600']);
    await host.workers.close();
    const exits: unknown[] = [];
    const next = createWorkers({
      instance: host.instance,
      clock: { now: () => ({ bootMs: performance.now(), wallMs: Date.now() }), at: () => () => undefined },
      log: { debug() {}, info() {}, warn() {}, error() {} },
      listener: {
        exited: (_id, exit) => void exits.push(exit),
        tree() {},
        resources() {},
        memoryLimit: () => null,
      },
      cgroups: host.cgroups,
    });
    expect(await next.adopt(workerId(id), process)).toEqual({ process, exit: null });
    expect(readFileSync(join(host.instance.workersDir, id, 'cgroup'), 'utf8')).toBe(`${groupOf(id)}\n`);
    next.signal(workerId(id), 'SIGTERM');
    const exit = await until('the exit is reported', () => exits.at(0));
    expect(exit).toMatchObject({ signal: 'SIGTERM' });
    await until('its group is gone', () => !existsSync(groupOf(id)));
    await next.close();
  });
});

/** The next supervisor finds the group by a file that the worker can have written itself. */
describe.runIf(canGroup())('a forged cgroup file of a worker', () => {
  const base = () => dirname(host.cgroups?.path ?? '');
  const cgroupFile = (id: string) => join(host.instance.workersDir, id, 'cgroup');
  const adopt = async (id: string, known: WorkerProcess, cgroups = host.cgroups) => {
    const silent = () => undefined;
    const next = createWorkers({
      instance: host.instance,
      clock: { now: () => ({ bootMs: performance.now(), wallMs: Date.now() }), at: () => silent },
      log: { debug: silent, info: silent, warn: silent, error: silent },
      listener: { exited() {}, tree() {}, resources() {}, memoryLimit: () => null },
      cgroups,
    });
    expect(await next.adopt(workerId(id), known)).toEqual({ process: known, exit: null });
    return next;
  };

  it.each<[string, (other: string) => string]>([
    ['a group of another program', () => join(base(), `foreign-${host.instance.id}`)],
    ['the group of another worker', (other) => groupOf(other)],
    ['a path through the parent folder', (other) => `${groupOf(other)}/../w-${other}`],
  ])('with %s kills and removes nothing there, and the own group is still removed', async (_name, pathOf) => {
    const foreign = join(base(), `foreign-${host.instance.id}`);
    mkdirSync(join(foreign, 'empty'), { recursive: true });
    const bystander = spawn('sleep', ['600'], { stdio: 'ignore' });
    try {
      writeFileSync(join(foreign, 'cgroup.procs'), String(bystander.pid));
      const { id, process: known } = await host.start(['sleep', '600']);
      const other = await host.start(['sleep', '600']);
      await host.workers.close();
      writeFileSync(cgroupFile(id), `${pathOf(other.id)}\n`);
      const next = await adopt(id, known);
      next.signal(workerId(id), 'SIGKILL');
      await until('its group is gone', () => !existsSync(groupOf(id)));
      expect(isAlive(bystander.pid ?? 0)).toBe(true);
      expect(isAlive(other.process.main?.pid ?? 0)).toBe(true);
      expect(existsSync(join(foreign, 'empty'))).toBe(true);
      await next.close();
    } finally {
      bystander.kill('SIGKILL');
      await until('the foreign group can go', () => {
        for (const path of [join(foreign, 'empty'), foreign]) if (existsSync(path)) rmdirSync(path);
        return true;
      });
    }
  });

  /** The next supervisor runs elsewhere in the hierarchy and has only the file. */
  it('with the group of another worker kills no other worker, also when the supervisor has only the file', async () => {
    const { id, process: known } = await host.start(['sleep', '600']);
    const other = await host.start(['sleep', '600']);
    await host.workers.close();
    writeFileSync(cgroupFile(id), `${groupOf(other.id)}\n`);
    const next = await adopt(id, known, null);
    next.signal(workerId(id), 'SIGKILL');
    await until('its process is gone', () => !isAlive(known.main?.pid ?? 0));
    expect(isAlive(other.process.main?.pid ?? 0)).toBe(true);
    expect(existsSync(groupOf(other.id))).toBe(true);
    await next.close();
  });

  it('with the true group lets a supervisor elsewhere remove the group with its worker', async () => {
    const { id, process: known } = await host.start(['sleep', '600']);
    await host.workers.close();
    const next = await adopt(id, known, null);
    next.signal(workerId(id), 'SIGKILL');
    await until('its group is gone', () => !existsSync(groupOf(id)));
    await next.close();
  });

  it('with a folder outside the hierarchy changes nothing in that folder', async () => {
    const precious = mkdtempSync(join(tmpdir(), 'curfew-precious-'));
    mkdirSync(join(precious, 'a/b'), { recursive: true });
    const { id, process: known } = await host.start(['sleep', '600']);
    await host.workers.close();
    writeFileSync(cgroupFile(id), `${precious}\n`);
    const next = await adopt(id, known);
    next.signal(workerId(id), 'SIGKILL');
    await until('its group is gone', () => !existsSync(groupOf(id)));
    expect(existsSync(join(precious, 'a/b'))).toBe(true);
    expect(removeCgroup(precious)).toBe(false);
    expect(killCgroup(precious)).toBe(false);
    await next.close();
    rmSync(precious, { recursive: true });
  });

  it.each<[string, (path: string) => void]>([
    ['is a folder', (path) => mkdirSync(path)],
    ['is a FIFO', (path) => execFileSync('mkfifo', [path])],
    ['is a link', (path) => symlinkSync('/dev/zero', path)],
    ['is too long', (path) => writeFileSync(path, 'x'.repeat(100_000))],
  ])('that %s does not prevent the adoption of the worker', async (_name, make) => {
    const { id, process: known } = await host.start(['sleep', '600']);
    await host.workers.close();
    rmSync(cgroupFile(id));
    make(cgroupFile(id));
    const next = await adopt(id, known);
    next.signal(workerId(id), 'SIGKILL');
    await until('its group is gone', () => !existsSync(groupOf(id)));
    expect(isAlive(known.main?.pid ?? 0)).toBe(false);
    await next.close();
  });
});
