import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import { cgroupPids } from '../../src/process/cgroup.ts';
import { createWorkers } from '../../src/worker/workers.ts';
import { isAlive, pidsCalled } from '../support/proc.ts';
import { until } from '../support/wait.ts';
import { canGroup, fixture, openWorkers } from '../support/workers.ts';

let host: ReturnType<typeof openWorkers>;
beforeEach(() => {
  host = openWorkers({ grouped: true });
});
afterEach(() => host.dispose());

const groupOf = (id: string) => join(host.cgroups?.path ?? '', `w-${id}`);

describe.runIf(canGroup())("a worker's cgroup", () => {
  it('holds the command and all that it starts, but not the shim', async () => {
    const { id, process } = await host.startUp(fixture('setsid-grandchild.py'));
    const inside = cgroupPids(groupOf(id));
    expect(inside).toContain(process.main?.pid);
    expect(inside).not.toContain(process.shim.pid);
    expect(inside).toHaveLength(2);
  });

  it('is removed with the tree, and the exit status is still told', async () => {
    const { id } = await host.start(['sh', '-c', 'exit 3']);
    expect(await host.exitOf(id)).toMatchObject({ code: 3 });
    host.workers.reap(id);
    await host.treeGone(id);
    expect(existsSync(groupOf(id))).toBe(false);
  });

  it('finds the one that shed mark, group, session and parent before anybody looked', async () => {
    const { id } = await host.startUp(fixture('nameless-escape.py'));
    const [escaped] = pidsCalled('nameless-escape.py\0child');
    expect(isAlive(escaped ?? 0)).toBe(true);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(isAlive(escaped ?? 0)).toBe(false);
  });

  it('may have groups of its own inside', async () => {
    const { id, process } = await host.startUp(fixture('setsid-grandchild.py'));
    mkdirSync(join(groupOf(id), 'inner'));
    expect(isAlive(process.main?.pid ?? 0)).toBe(true);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(existsSync(groupOf(id))).toBe(false);
  });

  it('is found again by the next supervisor, which is told of the end at once', async () => {
    const { id, process } = await host.start(['sleep', '600']);
    await host.workers.close();
    const exits: unknown[] = [];
    const next = createWorkers({
      instance: host.instance,
      clock: { now: () => ({ bootMs: performance.now(), wallMs: Date.now() }), at: () => () => undefined },
      log: { debug() {}, info() {}, warn() {}, error() {} },
      listener: { exited: (_id, exit) => void exits.push(exit), tree() {}, resources() {} },
      cgroups: host.cgroups,
    });
    expect(await next.adopt(workerId(id), process)).toEqual({ process, exit: null });
    expect(readFileSync(join(host.instance.workersDir, id, 'cgroup'), 'utf8')).toBe(`${groupOf(id)}\n`);
    next.signal(workerId(id), 'SIGTERM');
    await until('the exit is told', () => exits[0]);
    expect(exits[0]).toMatchObject({ signal: 'SIGTERM' });
    await until('its group is gone', () => !existsSync(groupOf(id)));
    await next.close();
  });
});
