/** Cleanup on real processes: to which tree a process belongs, and that exactly the processes of a plan end. */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createProcessTable } from '../../../src/adapters/cleanup/host-processes.ts';
import { createPlanFiles } from '../../../src/adapters/cleanup/plan-files.ts';
import { createClock } from '../../../src/adapters/telemetry/boot-clock.ts';
import { instanceId, workerId } from '../../../src/core/ids.ts';
import type { ProcessTable } from '../../../src/ports/process-table.ts';
import { until } from '../../support/lib/wait.ts';
import { isAlive, killAll, nap, pidsCalled, pidsNapping } from '../../support/processes/test-processes.ts';
import { fixture } from '../../support/workers/workers-rig.ts';

const INSTANCE = instanceId(randomUUID());
const ID = workerId('s-1.1');
const started: ChildProcess[] = [];
let table: ProcessTable;

beforeEach(() => {
  table = tableFor(null);
});
afterEach(async () => {
  // Each of them leads its own process group.
  killAll(started.splice(0).flatMap((one) => (one.pid === undefined ? [] : [-one.pid])));
  // The scan of the next test must not find these processes.
  await until(
    'no process of this test runs',
    async () => (await tableFor(null).scan()).workerIds.length === 0,
  );
});

function tableFor(livekitUrl: string | null): ProcessTable {
  return createProcessTable({ instanceId: INSTANCE, clock: createClock(), cgroups: null, livekitUrl });
}

function start(command: readonly string[], env: Record<string, string> = {}): number {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: 'ignore',
    detached: true,
  });
  started.push(child);
  return child.pid ?? 0;
}

/** True once every sleep of this test runs. A shell starts its sleep a moment after the shell itself started. */
const allNap = (...seconds: readonly number[]) => seconds.every((one) => pidsNapping(one).length > 0);
const marked = (command: readonly string[], id: string = ID) =>
  start(command, { CURFEW_WORKER: `${INSTANCE}/${id}` });

describe('a scan of the host', () => {
  it('finds a worker by its mark, with the processes that it started, and no worker of another instance', async () => {
    const pid = marked(['sh', '-c', `sleep ${nap(60)} & wait`]);
    start(['sleep', nap(61)], { CURFEW_WORKER: `${randomUUID()}/${ID}` });
    await until('both run', () => allNap(60, 61));
    const scan = await table.scan();
    expect(scan.workerIds).toEqual([ID]);
    const tree = scan.treeOf(ID, null);
    expect(tree.map((one) => one.command)).toEqual([`sh -c sleep ${nap(60)} & wait`, `sleep ${nap(60)}`]);
    const shell = tree.find((one) => one.pid === pid);
    expect(shell).toMatchObject({ pid, evidence: 'mark', own: true, livekit: null });
    expect(shell?.rssBytes).toBeGreaterThan(0);
  });

  it('counts a group without a leader to the worker only while the group holds a marked process', async () => {
    const gone = start(['sh', '-c', `sleep ${nap(71)} & sleep ${nap(72)} & :`]);
    const left = await until('its leader is gone', () => {
      const found = [71, 72].flatMap(pidsNapping);
      return !isAlive(gone) && found.length === 2 ? found : null;
    });
    const shim = (pid: number) => ({ bootId: '', pid, startTicks: 1 });
    expect((await table.scan()).treeOf(ID, shim(gone))).toEqual([]);
    const own = marked(['sh', '-c', `env -i sleep ${nap(73)} & sleep ${nap(74)} & :`]);
    const ours = await until('its leader is gone', () => {
      const found = [73, 74].flatMap(pidsNapping);
      return !isAlive(own) && found.length === 2 ? found : null;
    });
    const tree = (await table.scan()).treeOf(ID, shim(own));
    expect(tree.map((one) => one.pid).sort()).toEqual(ours.sort());
    expect(left.map(isAlive)).toEqual([true, true]);
    killAll([...left, ...ours]);
    await until('they are gone', () => ![...left, ...ours].some(isAlive));
  });

  it.each([
    '../../x',
    'a/../../../init.scope',
    '',
    'x'.repeat(200),
    '.hidden',
  ])('finds no worker for the mark %j, which is not a worker id', async (id) => {
    const pid = marked(['sleep', nap(69)], id);
    await until('it runs', () => isAlive(pid) && pidsNapping(69).includes(pid));
    expect((await table.scan()).workerIds).toEqual([]);
  });

  it('finds unmanaged processes by pattern, with their trees, and none that a supervisor started', async () => {
    const tag = randomUUID();
    const pid = start(['sh', '-c', `: ${tag}; sleep ${nap(62)} & wait`]);
    marked(['sh', '-c', `: ${tag}; sleep ${nap(63)} & wait`]);
    start(['sh', '-c', `: ${tag}; sleep ${nap(64)} & wait`], { CURFEW_WORKER: 'other/s-2.1' });
    await until('all run', () => allNap(62, 63, 64));
    const found = (await table.scan()).unmanaged([tag], null);
    expect(found).toHaveLength(1);
    const [unmanaged] = found;
    const [root, child] = unmanaged?.members ?? [];
    expect(root?.pid).toBe(pid);
    expect(unmanaged?.members.map((one) => one.evidence)).toEqual(['pattern', 'pattern']);
    expect(unmanaged?.isProtected).toBe(false);
    const [seenByChild] = (await table.scan()).unmanaged([tag], child?.pid ?? 0);
    expect(seenByChild?.isProtected).toBe(true);
  });

  it('protects the tree that the scanning process runs in', async () => {
    const tag = randomUUID();
    const script = `
      const [{ createProcessTable }, { createClock }] = await Promise.all([
        import(process.argv[1] + '/adapters/cleanup/host-processes.ts'),
        import(process.argv[1] + '/adapters/telemetry/boot-clock.ts'),
      ]);
      const table = createProcessTable({ instanceId: 'i', clock: createClock(), cgroups: null, livekitUrl: null });
      const found = (await table.scan()).unmanaged([process.argv[2]], null);
      console.log(JSON.stringify(found.map((one) => one.isProtected)));`;
    const inside = ['-e', script, resolve(import.meta.dirname, '../../../src'), tag];
    const command =
      'node=$1; shift; "$node" --disable-warning=ExperimentalWarning --input-type=module "$@"; exit $?';
    const { stdout } = await promisify(execFile)('sh', ['-c', command, tag, process.execPath, ...inside]);
    // One tree has the tag: the shell, with the scanning process inside.
    expect(JSON.parse(stdout)).toEqual([true]);
  });

  it('says which processes hold a connection to LiveKit', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await until('it listens', () => server.listening);
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const script = `require('net').connect(${port}, '127.0.0.1'); setInterval(() => {}, 1000)`;
    const connected = marked([process.execPath, '-e', script]);
    let seen = 0;
    server.on('connection', () => {
      seen += 1;
    });
    await until('it is connected', () => seen > 0);
    marked(['sleep', nap(65)], 's-2.1');
    const scan = await tableFor(`ws://127.0.0.1:${port}`).scan();
    expect(scan.treeOf(ID, null)).toMatchObject([{ pid: connected, livekit: true }]);
    expect(scan.treeOf(workerId('s-2.1'), null)).toMatchObject([{ livekit: false }]);
    server.close();
  });
});

describe('the end of a plan', () => {
  it('ends exactly the processes that the plan names, also those that ignore SIGTERM', async () => {
    const pid = marked(fixture('ignores-term.sh'));
    const other = marked(['sleep', nap(66)], 's-2.1');
    await until('they run', () => isAlive(pid) && isAlive(other));
    const members = (await table.scan()).treeOf(ID, null);
    const outcomes = await table.end([{ workerId: ID, members }]);
    expect(outcomes.find((one) => one.pid === pid)?.outcome).toBe('ended');
    // Race: a sleep inside its loop can end before the plan reaches that sleep.
    for (const { outcome } of outcomes) expect(outcome).toMatch(/^(ended|gone)$/);
    expect([isAlive(pid), isAlive(other)]).toEqual([false, true]);
  });

  it('spares a process with another start time or mark than in the plan, and reports one that is gone', async () => {
    const pid = marked(['sleep', nap(67)]);
    const unmarked = start(['sleep', nap(68)]);
    await until('they run', () => isAlive(pid) && isAlive(unmarked));
    const [member] = (await table.scan()).treeOf(ID, null);
    if (member === undefined) throw new Error('no member');
    const gone = start(['true']);
    await until('it is gone', () => !isAlive(gone));
    const [unmanaged] = (await table.scan()).unmanaged([`sleep ${nap(68)}`], null);
    const [sleeper] = unmanaged?.members ?? [];
    const startTicks = sleeper?.startTicks ?? 0;
    const outcomes = await table.end([
      {
        workerId: ID,
        members: [
          { ...member, startTicks: member.startTicks - 1 },
          { ...member, pid: unmarked, startTicks },
          { ...member, pid: 2 ** 22 - 1 },
        ],
      },
    ]);
    expect(outcomes.map((one) => one.outcome)).toEqual(['changed', 'changed', 'gone']);
    expect([isAlive(pid), isAlive(unmarked)]).toEqual([true, true]);
  });
});

describe('an unmanaged process that runs another command than the plan recorded', () => {
  it('survives and is reported as changed', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-exec-'));
    const tag = randomUUID();
    const script = `: ${tag}; while [ ! -e ${dir}/go ]; do sleep 0.05; done; exec sleep ${nap(70)}`;
    const pid = start(['sh', '-c', script]);
    await until('it runs', () => pidsCalled(tag).includes(pid));
    const [unmanaged] = (await table.scan()).unmanaged([tag], null);
    const members = (unmanaged?.members ?? []).filter((one) => one.pid === pid);
    writeFileSync(join(dir, 'go'), '');
    await until('it runs something else', () => pidsNapping(70).includes(pid));
    expect((await table.end([{ workerId: null, members }])).map((one) => one.outcome)).toEqual(['changed']);
    expect(isAlive(pid)).toBe(true);
    rmSync(dir, { recursive: true });
  });
});

describe('the file of a cleanup plan', () => {
  it.each<[string, string]>([
    ['cut off', '{"id":"abc","madeAt'],
    ['not a plan', 'null'],
    ['without verdicts', JSON.stringify({ id: 'abc', madeAtWallMs: Date.now(), bootId: 'boot' })],
    ['of another plan', JSON.stringify({ id: 'def', madeAtWallMs: Date.now(), bootId: '', verdicts: [] })],
  ])('is not loaded when it is damaged: %s', async (_name, text) => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-plans-'));
    writeFileSync(join(dir, 'abc.json'), text);
    expect(await createPlanFiles(dir).load('abc')).toBeNull();
    rmSync(dir, { recursive: true });
  });

  it('can be loaded by its id for two hours, and no id leads out of its folder', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-plans-'));
    const plans = createPlanFiles(join(dir, 'plans'));
    const plan = { id: 'abc', madeAtWallMs: Date.now(), bootId: 'boot', verdicts: [] };
    await plans.save(plan);
    expect(await plans.load('abc')).toEqual(plan);
    expect(await plans.load('../abc')).toBeNull();
    expect(await plans.load('def')).toBeNull();
    await plans.save({ ...plan, id: 'dead', madeAtWallMs: Date.now() - 2 * 3_600_000 });
    expect(await plans.load('dead')).toBeNull();
    rmSync(dir, { recursive: true });
  });
});
