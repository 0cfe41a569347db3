/** The sweep on real processes: whose tree each is, and that exactly a plan's processes end. */
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
  // Each leads a group of its own.
  killAll(started.splice(0).flatMap((one) => (one.pid === undefined ? [] : [-one.pid])));
  // The next test's look must not find them.
  await until('none of it runs', async () => (await tableFor(null).scan()).workerIds.length === 0);
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

/** Those that this test started; what a shell starts is there a moment later. */
const naps = (...seconds: readonly number[]) => seconds.every((one) => pidsNapping(one).length > 0);
const marked = (command: readonly string[], id: string = ID) =>
  start(command, { CURFEW_WORKER: `${INSTANCE}/${id}` });

describe('a look', () => {
  it('finds a worker by its mark, with what it started, and none of another instance', async () => {
    const pid = marked(['sh', '-c', `sleep ${nap(60)} & wait`]);
    start(['sleep', nap(61)], { CURFEW_WORKER: `${randomUUID()}/${ID}` });
    await until('both run', () => naps(60, 61));
    const look = await table.scan();
    expect(look.workerIds).toEqual([ID]);
    const tree = look.treeOf(ID, null);
    expect(tree.map((one) => one.command)).toEqual([`sh -c sleep ${nap(60)} & wait`, `sleep ${nap(60)}`]);
    expect(tree[0]).toMatchObject({ pid, evidence: 'mark', own: true, livekit: null });
    expect(tree[0]?.rssBytes).toBeGreaterThan(0);
  });

  it('takes a group whose leader is gone for the worker’s only while one of the worker’s is in it', async () => {
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
  ])('takes the mark %j for no worker of ours', async (id) => {
    const pid = marked(['sleep', nap(69)], id);
    await until('it runs', () => isAlive(pid) && pidsNapping(69).includes(pid));
    expect((await table.scan()).workerIds).toEqual([]);
  });

  it('finds strangers by pattern, with their trees, and none that a curfew started', async () => {
    const tag = randomUUID();
    const pid = start(['sh', '-c', `: ${tag}; sleep ${nap(62)} & wait`]);
    marked(['sh', '-c', `: ${tag}; sleep ${nap(63)} & wait`]);
    start(['sh', '-c', `: ${tag}; sleep ${nap(64)} & wait`], { CURFEW_WORKER: 'other/s-2.1' });
    await until('all run', () => naps(62, 63, 64));
    const found = (await table.scan()).unmanaged([tag], null);
    expect(found.map((one) => one.members[0]?.pid)).toEqual([pid]);
    expect(found[0]?.members.map((one) => one.evidence)).toEqual(['pattern', 'pattern']);
    expect(found[0]?.isProtected).toBe(false);
    const child = found[0]?.members[1]?.pid ?? 0;
    expect((await table.scan()).unmanaged([tag], child)[0]?.isProtected).toBe(true);
  });

  it('protects what this very process runs in', async () => {
    const tag = randomUUID();
    const script = `
      const [{ createProcessTable }, { createClock }] = await Promise.all([
        import(process.argv[1] + '/sweep/table.ts'),
        import(process.argv[1] + '/telemetry/clock.ts'),
      ]);
      const table = createProcessTable({ instanceId: 'i', clock: createClock(), cgroups: null, livekitUrl: null });
      const found = (await table.look()).strangers([process.argv[2]], null);
      console.log(JSON.stringify(found.map((one) => one.isProtected)));`;
    const inside = ['-e', script, resolve(import.meta.dirname, '../../../src'), tag];
    const command =
      'node=$1; shift; "$node" --disable-warning=ExperimentalWarning --input-type=module "$@"; exit $?';
    const { stdout } = await promisify(execFile)('sh', ['-c', command, tag, process.execPath, ...inside]);
    // One tree with the tag: the shell, and in it the very process that looks.
    expect(JSON.parse(stdout)).toEqual([true]);
  });

  it('says who holds a connection to LiveKit', async () => {
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
    const look = await tableFor(`ws://127.0.0.1:${port}`).scan();
    expect(look.treeOf(ID, null)).toMatchObject([{ pid: connected, livekit: true }]);
    expect(look.treeOf(workerId('s-2.1'), null)).toMatchObject([{ livekit: false }]);
    server.close();
  });
});

describe('the end', () => {
  it('reaches exactly the processes that were named, those that ignore TERM too', async () => {
    const pid = marked(fixture('ignores-term.sh'));
    const other = marked(['sleep', nap(66)], 's-2.1');
    await until('they run', () => isAlive(pid) && isAlive(other));
    const members = (await table.scan()).treeOf(ID, null);
    const outcomes = await table.end([{ workerId: ID, members }]);
    expect(outcomes.find((one) => one.pid === pid)?.outcome).toBe('ended');
    // A nap of its loop may have been over before it was its turn.
    for (const { outcome } of outcomes) expect(outcome).toMatch(/^(ended|gone)$/);
    expect([isAlive(pid), isAlive(other)]).toEqual([false, true]);
  });

  it('leaves who has another identity, another mark, or is gone', async () => {
    const pid = marked(['sleep', nap(67)]);
    const strange = start(['sleep', nap(68)]);
    await until('they run', () => isAlive(pid) && isAlive(strange));
    const [member] = (await table.scan()).treeOf(ID, null);
    if (member === undefined) throw new Error('no member');
    const gone = start(['true']);
    await until('it is gone', () => !isAlive(gone));
    const startTicks =
      (await table.scan()).unmanaged([`sleep ${nap(68)}`], null)[0]?.members[0]?.startTicks ?? 0;
    const outcomes = await table.end([
      {
        workerId: ID,
        members: [
          { ...member, startTicks: member.startTicks - 1 },
          { ...member, pid: strange, startTicks },
          { ...member, pid: 2 ** 22 - 1 },
        ],
      },
    ]);
    expect(outcomes.map((one) => one.outcome)).toEqual(['changed', 'changed', 'gone']);
    expect([isAlive(pid), isAlive(strange)]).toEqual([true, true]);
  });
});

describe('a stranger that runs another command than the plan saw', () => {
  it('is left, and told as changed', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-exec-'));
    const tag = randomUUID();
    const script = `: ${tag}; while [ ! -e ${dir}/go ]; do sleep 0.05; done; exec sleep ${nap(70)}`;
    const pid = start(['sh', '-c', script]);
    await until('it runs', () => pidsCalled(tag).includes(pid));
    const [family] = (await table.scan()).unmanaged([tag], null);
    const members = (family?.members ?? []).filter((one) => one.pid === pid);
    writeFileSync(join(dir, 'go'), '');
    await until('it runs something else', () => pidsNapping(70).includes(pid));
    expect((await table.end([{ workerId: null, members }])).map((one) => one.outcome)).toEqual(['changed']);
    expect(isAlive(pid)).toBe(true);
    rmSync(dir, { recursive: true });
  });
});

describe('a plan', () => {
  it.each<[string, string]>([
    ['cut off', '{"id":"abc","madeAt'],
    ['no plan', 'null'],
    ['without its verdicts', JSON.stringify({ id: 'abc', madeAtWallMs: Date.now(), bootId: 'boot' })],
    [
      'that is another one',
      JSON.stringify({ id: 'def', madeAtWallMs: Date.now(), bootId: '', verdicts: [] }),
    ],
  ])('whose file is damaged (%s) is none', async (_name, text) => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-plans-'));
    writeFileSync(join(dir, 'abc.json'), text);
    expect(await createPlanFiles(dir).load('abc')).toBeNull();
    rmSync(dir, { recursive: true });
  });

  it('is kept for who comes later, and no path leads out of its folder', async () => {
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
