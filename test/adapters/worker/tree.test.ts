import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../support/lib/wait.ts';
import { isAlive, killAll, pidsCalled } from '../../support/processes/test-processes.ts';
import { canGroup, fixture, openWorkers } from '../../support/workers/workers-rig.ts';

let host: ReturnType<typeof openWorkers>;
let tag: string;
beforeEach(() => {
  tag = randomUUID();
});
const bystanders: ChildProcess[] = [];
afterEach(async () => {
  // Each of them leads its own process group.
  killAll(bystanders.splice(0).flatMap((one) => (one.pid === undefined ? [] : [-one.pid])));
  await host.dispose();
  // A process without a mark is found by its arguments only.
  killAll(pidsCalled(tag));
});

const HOSTILE = [
  'ignores-term.sh',
  'blocked-loop.mjs',
  'setsid-grandchild.py',
  'double-fork.py',
  'nameless-escape.py',
  'closes-stdio.py',
  'forks.py',
  'chain.py',
  'fork-bomb.py',
];

/** Each test runs with process group and mark alone, and where possible also with a cgroup for each worker. */
const CONTAINMENTS = [
  ['process group and mark', false],
  ...(canGroup() ? [['a cgroup', true] as const] : []),
] as const;

describe.each(CONTAINMENTS)('with %s, a worker', (_how, grouped) => {
  beforeEach(() => {
    host = openWorkers({ sampleMs: 50, grouped });
  });

  it.each(
    HOSTILE,
  )('leaves no process after SIGTERM and SIGKILL, although it is hostile: %s', async (name) => {
    const { id } = await host.startUp(fixture(name, tag));
    host.workers.signal(id, 'SIGTERM');
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(host.marked()).toEqual([]);
    expect(pidsCalled(tag)).toEqual([]);
    expect(host.exits.get(id)).toHaveLength(1);
    expect(host.trees.get(id)?.filter((left) => left === 0)).toEqual([0]);
  });

  it('leaves no escaped process without mark, group and session that a scan has seen as its child', async () => {
    const { id } = await host.startUp(fixture('nameless-escape.py', tag));
    const [escaped] = pidsCalled(`${tag}\0child`);
    expect(escaped).toBeDefined();
    host.workers.signal(id, 'SIGTERM');
    await host.exitOf(id);
    await until('the escaped process is reported', () => host.trees.get(id)?.includes(1));
    expect(isAlive(escaped ?? 0)).toBe(true);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(isAlive(escaped ?? 0)).toBe(false);
  });

  it('keeps its tree after its leader exits, until the last member is gone', async () => {
    const { id } = await host.startUp(fixture('holds-stdout.py'));
    expect(await host.exitOf(id)).toMatchObject({ code: 7, signal: null });
    await until('the rest of the tree is reported', () => host.trees.get(id));
    expect(host.trees.get(id)).toEqual([1]);
    host.workers.reap(id);
    await until('the second report', () => host.trees.get(id)?.length === 2);
    host.workers.signal(id, 'SIGTERM');
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(host.marked()).toEqual([]);
    host.workers.reap(id);
    host.workers.signal(id, 'SIGKILL');
    const reported = host.trees.get(id) ?? [];
    expect(reported.at(-1)).toBe(0);
  });

  it('that is suspended dies of SIGTERM', async () => {
    const { id, process: started } = await host.start(['sleep', '60']);
    for (const one of [started.main, started.shim]) process.kill(one?.pid ?? 0, 'SIGSTOP');
    host.workers.signal(id, 'SIGTERM');
    expect(await host.exitOf(id)).toMatchObject({ signal: 'SIGTERM' });
    await host.treeGone(id);
  });

  it('that is suspended dies of SIGKILL', async () => {
    const { id, process: started } = await host.startUp(fixture('ignores-term.sh'));
    for (const one of [started.main, started.shim]) process.kill(one?.pid ?? 0, 'SIGSTOP');
    host.workers.signal(id, 'SIGKILL');
    expect(await host.exitOf(id)).toMatchObject({ signal: 'SIGKILL' });
    await host.treeGone(id);
    expect(host.marked()).toEqual([]);
  });

  it('has time to clean up, because SIGTERM is sent once and not to the processes that its cleanup starts', async () => {
    const script = 'trap "sleep 0.3; echo cleaned; exit 5" TERM; echo up; while :; do sleep 0.05; done';
    const { id } = await host.startUp(['sh', '-c', script]);
    host.workers.signal(id, 'SIGTERM');
    expect(await host.exitOf(id)).toMatchObject({ code: 5, signal: null });
    expect(host.logOf(id)).toContain('cleaned');
  });
});

describe.each(CONTAINMENTS)('with %s, many workers', (_how, grouped) => {
  beforeEach(() => {
    host = openWorkers({ grouped });
  });

  it('die at the same time, and each exit is reported once', async () => {
    const started = await Promise.all(Array.from({ length: 30 }, () => host.start(['sleep', '60'])));
    for (const { id } of started) host.workers.signal(id, 'SIGTERM');
    for (const { id } of started) await host.treeGone(id);
    expect(host.marked()).toEqual([]);
    expect([...host.exits.values()].map((one) => one.map(({ signal }) => signal))).toEqual(
      started.map(() => ['SIGTERM']),
    );
    expect([...host.trees.values()]).toEqual(started.map(() => [0]));
  });

  it('with similar ids stay separate, so that the end of one does not end another', async () => {
    const [one, two] = [
      await host.start(['sleep', '60'], { id: 'w-1' }),
      await host.start(['sleep', '60'], { id: 'w-10' }),
    ];
    host.workers.signal(one.id, 'SIGKILL');
    await host.treeGone(one.id);
    expect(isAlive(two.process.main?.pid ?? 0)).toBe(true);
    expect(host.exits.get(two.id)).toBeUndefined();
  });
});

describe('a process of another program', () => {
  beforeEach(() => {
    host = openWorkers();
  });

  const sleeper = (env: Record<string, string>, ...more: string[]) => {
    const child = spawn('sh', ['-c', 'sleep 60; :', ...more], {
      env: { PATH: process.env.PATH, ...env },
      detached: true,
      stdio: 'ignore',
    });
    bystanders.push(child);
    return child.pid ?? 0;
  };

  it('survives with a similar name, a mark in its arguments or the mark of another instance', async () => {
    const { id } = await host.startUp(fixture('ignores-term.sh'));
    const mark = `${host.instance.id}/${id}`;
    const [program] = fixture('ignores-term.sh');
    const pids = [
      sleeper({}, 'curfew-shim', program),
      sleeper({}, `CURFEW_WORKER=${mark}`),
      sleeper({ CURFEW_WORKER: `other/${id}` }),
      sleeper({ CURFEW_WORKER: `${mark}0` }),
      sleeper({ X_CURFEW_WORKER: mark, Y: `CURFEW_WORKER=${mark}` }),
    ];
    host.workers.signal(id, 'SIGTERM');
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
    expect(pids.map(isAlive)).toEqual(pids.map(() => true));
  });
});

describe('a resource sample of a worker', () => {
  beforeEach(() => {
    host = openWorkers({ sampleMs: 50 });
  });

  it('counts its whole tree', async () => {
    const { id } = await host.startUp(fixture('setsid-grandchild.py'));
    const { id: lone } = await host.start(['sleep', '60']);
    const sample = await until('a sample of both', () =>
      host.samples.findLast((one) => one.id === id && one.memory.bytes > 8_000_000),
    );
    const small = await until('a sample', () => host.samples.findLast((one) => one.id === lone));
    expect(small.memory.bytes).toBeLessThan(sample.memory.bytes);
    expect(small.cpuPercent).toBeGreaterThanOrEqual(0);
    expect(host.warnings).toEqual([]);
  });
});

describe('a resource sample near the memory limit', () => {
  const MIB = 1024 ** 2;

  it('counts a page that forks share once', async () => {
    host = openWorkers({ sampleMs: 50, memoryLimit: 600 * MIB });
    const { id } = await host.startUp(fixture('shares-memory.py', '150', '5'));
    const exact = await until('an exact sample of all six', () =>
      host.samples.findLast(({ memory }) => memory.measure === 'pss' && memory.bytes > 150 * MIB),
    );
    expect(exact.id).toBe(id);
    expect(exact.memory.bytes).toBeLessThan(250 * MIB);
  });

  it('stays cheap far below the limit, and counts a shared page once for each process', async () => {
    host = openWorkers({ sampleMs: 50, memoryLimit: 64 * 1024 * MIB });
    const { id } = await host.startUp(fixture('shares-memory.py', '20', '5'));
    const cheap = await until('a sample of all six', () =>
      host.samples.findLast((one) => one.id === id && one.memory.bytes > 120 * MIB),
    );
    expect(cheap.memory.measure).toBe('rss');
  });
});
