/** The temporary folder of each worker: its place, its end, and what a worker may leave in it. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeTree } from '../../../src/adapters/worker/temp/remove-tree.ts';
import { tempNameOf } from '../../../src/adapters/worker/temp/temp-folders.ts';
import { sizeOf } from '../../../src/adapters/worker/temp/temp-sizes.ts';
import { workerId } from '../../../src/core/ids.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import { until } from '../../support/lib/wait.ts';
import { openWorkers } from '../../support/workers/workers-rig.ts';

let dir: string;
let host: ReturnType<typeof openWorkers>;
const opened = () =>
  openWorkers({ env: { PATH: process.env.PATH, TMPDIR: '/shared' }, temp: { dir, maxBytes: 1e9 } });
beforeEach(() => {
  dir = mkdtempSync('/tmp/cf-');
  host = opened();
});
afterEach(async () => {
  await host.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const REMOVAL = join(import.meta.dirname, '../../../src/adapters/worker/temp/remove-tree.ts');
/** A mount namespace of its own, so that a mount of a test ends with it. Root of a user namespace may mount. */
const UNSHARE = ['unshare', '--mount', '--user', '--map-root-user'] as const;
const mayMount = spawnSync(UNSHARE[0], [...UNSHARE.slice(1), 'true']).status === 0;
/** Replaces each folder of a name with x, in any folder of `work`, by a link to another folder. */
const SWAP = `
import glob, os, sys
work, outside = sys.argv[1:]
while True:
  for path in glob.glob(work + '/*/x*'):
    try:
      if not os.path.islink(path):
        os.rename(path, path.replace('/x', '/z'))
        os.symlink(outside, path)
    except OSError:
      pass
`;
const OWN: Partial<Profile> = { tmp: 'worker' };
const sh = (script: string): [string, ...string[]] => ['sh', '-c', script];
/** The folders of workers that exist, of all instances. */
const folders = () =>
  readdirSync(dir).flatMap((root) =>
    readdirSync(join(dir, root)).filter((name) => /^[a-z2-7]{10}$/.test(name)),
  );

describe('the TMPDIR of a worker', () => {
  it('is its own, closed to others, and gone with its processes', async () => {
    const { id } = await host.startUp(sh('echo $TMPDIR; echo up; exec sleep 60'), { profile: OWN });
    const path = host.logOf(id).split('\n')[0] ?? '';
    expect(path.startsWith(`${dir}/curfew-`)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(readFileSync(`${path}.worker`, 'utf8')).toBe(`${id}\n`);
    host.workers.signal(id, 'SIGKILL');
    await until('the folder is gone', () => !existsSync(path) && !existsSync(`${path}.worker`));
  });

  it.each([
    ['the profile has none', {}, '/shared'],
    ['the profile says shared', { tmp: 'shared' }, '/shared'],
    ['the profile sets one', { tmp: 'worker', env: { TMPDIR: '/mine' } }, '/mine'],
    ['the profile passes the one of the supervisor', { tmp: 'worker', passEnv: ['TMPDIR'] }, '/shared'],
  ] as [string, Partial<Profile>, string][])('is not of curfew when %s', async (_, profile, expected) => {
    const { id } = await host.startUp(sh('echo $TMPDIR; echo up'), { profile });
    expect(host.logOf(id)).toBe(`${expected}\nup\n`);
  });

  it('has room for the sockets of multiprocessing, also for the longest id', async () => {
    rmSync(dir, { recursive: true });
    dir = `/tmp/${'d'.repeat(26)}`;
    await host.dispose();
    host = opened();
    const script =
      'import multiprocessing as m; d = m.Manager().dict(a=1); print(d["a"]); print("up", flush=True)';
    const { id } = await host.startUp(['python3', '-c', script], {
      profile: OWN,
      id: `s${'x'.repeat(130)}.12345`,
    });
    expect(host.logOf(id)).toBe('1\nup\n');
  });

  it('is the shared one when temp_dir cannot be used, and the log says so once', async () => {
    writeFileSync(join(dir, 'file'), '');
    const other = openWorkers({
      env: { PATH: process.env.PATH, TMPDIR: '/shared' },
      temp: { dir: join(dir, 'file'), maxBytes: 1 },
    });
    try {
      for (let n = 0; n < 2; n += 1) {
        const { id } = await other.startUp(sh('echo $TMPDIR; echo up'), { profile: OWN });
        expect(other.logOf(id)).toBe('/shared\nup\n');
      }
      expect(other.warnings.filter((one) => one.includes('no temporary folder can be made'))).toHaveLength(1);
    } finally {
      await other.dispose();
    }
  });

  it('is gone for 40 killed workers that left folders in it, also for a start that failed', async () => {
    const script =
      'for n in 1 2 3; do mkdir -p $TMPDIR/profile$n/cache; head -c 100000 /dev/zero >$TMPDIR/profile$n/cache/data; done; echo up; exec sleep 60';
    const started = await Promise.all(
      Array.from({ length: 40 }, () => host.startUp(sh(script), { profile: OWN })),
    );
    expect(folders()).toHaveLength(40);
    await expect(host.start(['/nowhere/program'], { profile: OWN })).rejects.toThrow('was not found');
    for (const { id } of started) host.workers.signal(id, 'SIGKILL');
    await until('nothing is left', () => folders().length === 0);
  });
});

describe('the folder of an adopted worker', () => {
  it('stays while it lives, and is removed by a cleanup when it died without a supervisor', async () => {
    const living = await host.startUp(sh('echo $TMPDIR; echo up; exec sleep 60'), { profile: OWN });
    const dead = await host.startUp(sh('echo $TMPDIR; echo up; exec sleep 60'), { profile: OWN });
    const [kept = '', left = ''] = [living, dead].map(({ id }) => host.logOf(id).split('\n')[0]);
    await host.workers.close();
    process.kill(dead.process.main?.pid ?? 0, 'SIGKILL');
    const { instance } = host;
    const next = openWorkers({ instance, temp: { dir, maxBytes: 1e9 } });
    try {
      expect(await next.workers.adopt(living.id, living.process)).not.toBeNull();
      await until(
        'the dead one has no process',
        () => host.marked().length > 0 && !existsSync(`/proc/${dead.process.main?.pid}`),
      );
      // A young folder may belong to a start that is under way.
      expect(await next.workers.removeLeftTemp()).toBe(0);
      for (const path of [left, kept]) utimesSync(`${path}.worker`, 0, 0);
      await until('the other one is removed', async () => (await next.workers.removeLeftTemp()) === 1);
      expect([existsSync(kept), existsSync(left)]).toEqual([true, false]);
      next.workers.signal(living.id, 'SIGKILL');
      await until('both are gone', () => folders().length === 0);
    } finally {
      await next.dispose();
    }
  });
});

describe('what another instance left', () => {
  it('goes when its state directory is gone and none of its processes lives', async () => {
    const other = openWorkers({ temp: { dir, maxBytes: 1e9 } });
    const { process: started } = await other.startUp(sh('echo up; exec sleep 60'), { profile: OWN });
    await other.workers.close();
    expect(await host.workers.removeLeftTemp()).toBe(0);
    rmSync(other.instance.stateDir, { recursive: true });
    expect(await host.workers.removeLeftTemp()).toBe(0);
    process.kill(started.main?.pid ?? 0, 'SIGKILL');
    await until('its folders are removed', async () => (await host.workers.removeLeftTemp()) === 1);
    expect(readdirSync(dir)).toEqual([]);
    await other.dispose();
  });

  it.each([
    [
      'another container, whose processes and state directory cannot be seen from here',
      'boot pid:[1] mnt:[1]',
    ],
    ['an owner that no place is known of', undefined],
  ])('stays when it belongs to %s', async (_, place) => {
    const other = { instance: '12345678-aaaa', stateDir: '/data/of/another/container', place };
    const root = join(dir, 'curfew-12345678');
    mkdirSync(join(root, 'abcdefghij'), { recursive: true, mode: 0o700 });
    writeFileSync(join(root, 'owner.json'), JSON.stringify(other));
    expect(await host.workers.removeLeftTemp()).toBe(0);
    expect(existsSync(join(root, 'abcdefghij'))).toBe(true);
  });
});

describe('the removal of a folder', () => {
  it('follows no link out, and removes closed folders, odd names and a tree deeper than any path', async () => {
    const outside = join(dir, 'outside');
    mkdirSync(join(outside, 'kept'), { recursive: true });
    writeFileSync(join(outside, 'kept', 'file'), 'x');
    const top = join(dir, 'top');
    mkdirSync(join(top, 'closed', 'inner'), { recursive: true });
    symlinkSync(outside, join(top, 'closed', 'link'));
    symlinkSync(outside, join(top, 'link'));
    writeFileSync(Buffer.concat([Buffer.from(`${top}/`), Buffer.from([0xff, 0x41])]), '');
    chmodSync(join(top, 'closed', 'inner'), 0);
    chmodSync(join(top, 'closed'), 0);
    await deepTree(top);
    expect(await removeTree(top)).toBeNull();
    expect(existsSync(top)).toBe(false);
    expect(readFileSync(join(outside, 'kept', 'file'), 'utf8')).toBe('x');
  });

  it('removes a link in place of the folder, and finds nothing where nothing is', async () => {
    mkdirSync(join(dir, 'kept'));
    symlinkSync(join(dir, 'kept'), join(dir, 'link'));
    expect(await removeTree(join(dir, 'link'))).toBeNull();
    expect(await removeTree(join(dir, 'nothing'))).toBeNull();
    expect(readdirSync(dir)).toEqual(['kept']);
  });

  it('removes a tree whose folders have the names of moved folders', async () => {
    const top = join(dir, 'top');
    for (let n = 1; n <= 20; n += 1)
      mkdirSync(join(top, `.curfew-${process.pid}-${n}`, 'inner'), { recursive: true });
    mkdirSync(join(top, 'a', 'b'), { recursive: true });
    expect(await removeTree(top)).toBeNull();
    expect(existsSync(top)).toBe(false);
  });

  it('follows no link that a process puts in the place of a folder meanwhile', async () => {
    const [outside, work] = [join(dir, 'outside'), join(dir, 'work')];
    mkdirSync(join(outside, 'kept'), { recursive: true });
    writeFileSync(join(outside, 'file'), 'x');
    chmodSync(outside, 0o755);
    mkdirSync(work);
    const swapper = spawn('python3', ['-c', SWAP, work, outside]);
    try {
      for (let round = 0; round < 10; round += 1) {
        const [made, top] = [join(dir, 'made'), join(work, `${round}`)];
        for (let n = 0; n < 50; n += 1) mkdirSync(join(made, `x${n}`, 'y'), { recursive: true });
        renameSync(made, top);
        await until('it is removed', async () => (await removeTree(top)) === null);
      }
    } finally {
      swapper.kill('SIGKILL');
      await new Promise((resolve) => swapper.once('exit', resolve));
    }
    expect(readdirSync(outside)).toEqual(['file', 'kept']);
    expect(statSync(outside).mode & 0o777).toBe(0o755);
  });

  it.skipIf(!mayMount).each([
    ['over the folder', ''],
    ['over a folder in it', 'in'],
  ])('leaves all that lies behind a mount %s', (_, where) => {
    const [precious, top] = [join(dir, 'precious'), join(dir, 'top')];
    mkdirSync(join(precious, 'sub'), { recursive: true });
    mkdirSync(join(top, 'in'), { recursive: true });
    writeFileSync(join(precious, 'file'), 'keep');
    writeFileSync(join(precious, 'sub', 'file'), 'keep');
    chmodSync(precious, 0o500);
    const script = `mount --bind "$1" "$2" && exec "$3" --input-type=module -e "import { removeTree } from '${REMOVAL}';
      console.log(await removeTree('${top}'))"`;
    const target = join(top, where);
    const ran = spawnSync(UNSHARE[0], [
      ...UNSHARE.slice(1),
      'sh',
      '-c',
      script,
      'sh',
      precious,
      target,
      process.execPath,
    ]);
    expect(`${ran.stdout}${ran.stderr}`).toContain('mounted on it');
    expect(readFileSync(join(precious, 'file'), 'utf8')).toBe('keep');
    expect(readFileSync(join(precious, 'sub', 'file'), 'utf8')).toBe('keep');
    expect(statSync(precious).mode & 0o777).toBe(0o500);
    chmodSync(precious, 0o700);
  });
});

it('counts the bytes on the disk', async () => {
  mkdirSync(join(dir, 'a', 'b'), { recursive: true });
  writeFileSync(join(dir, 'a', 'b', 'data'), Buffer.alloc(100_000, 1));
  symlinkSync(tmpdir(), join(dir, 'a', 'link'));
  expect(await sizeOf(dir)).toBeGreaterThanOrEqual(100_000);
  expect(await sizeOf(dir)).toBeLessThan(200_000);
});

it('names a worker by ten characters of its id', () => {
  expect(tempNameOf(workerId('s1.1'))).toMatch(/^[a-z2-7]{10}$/);
  expect(tempNameOf(workerId('s1.1'))).not.toBe(tempNameOf(workerId('s1.2')));
});

/** A tree whose deepest path has more than 4096 bytes. */
function deepTree(top: string): Promise<unknown> {
  const script = 'cd "$1"; n=0; while [ $n -lt 100 ]; do mkdir "$2"; cd "$2"; n=$((n+1)); done';
  const child = spawn('sh', ['-c', script, 'sh', top, 'n'.repeat(100)]);
  return new Promise((resolve) => child.once('exit', resolve));
}
