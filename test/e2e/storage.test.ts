/** Faults of the storage during calls: calls go on. curfew refuses a new call that it cannot record, and says why. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive } from '../support/processes/test-processes.ts';

const fixture = (name: string) => join(ROOT, 'test/fixtures', name);
const config = {
  limits: { start_rate: '1000/s' },
  agents: {
    default: { command: ['sleep', '1000'] },
    kit: { command: [process.execPath, fixture('kits/agent.mjs')], protocol: 'curfew' },
    loud: { command: ['sh', '-c', 'while :; do echo "some line that fills the disk"; done'] },
  },
};

let daemon: Daemon;
const undo: (() => void)[] = [];
/** Runs after the daemon is closed, because it holds files on the disk open. */
const unmounts: (() => void)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) one();
  await daemon.close();
  for (const one of unmounts.splice(0)) one();
});

const start = async (dir?: string) => {
  daemon = await new Daemon({ config, ...(dir !== undefined && { dir }) }).start();
};
const live = async (room: string, agent = 'default') =>
  daemon.reaches((await daemon.dispatch({ room, agent })).body.id, ['live']);
const recorded = (ids: readonly string[]) => Promise.all(ids.map((id) => daemon.recorded(id, 'live')));
/** Waits, because the log comes through a pipe and names a fault only at the next check of the disk. */
const says = (what: RegExp) =>
  until(`the log says "${what.source}"`, () => what.test(daemon.stderr + daemon.stdout), 15_000);
const registry = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.registry;
const database = (name = '') => join(daemon.dir, 'state', `registry.db${name}`);
const listed = async () =>
  (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions?state=live')).body.sessions
    .map((one) => one.id)
    .sort();

describe('faults of the database', () => {
  it.each<[string, () => void]>([
    ['deleted', () => ['', '-wal', '-shm'].forEach((name) => void rmSync(database(name), { force: true }))],
    ['overwritten', () => writeFileSync(database(), 'garbage '.repeat(2000))],
  ])('calls go on when the database is %s, and a restart finds them in the new one', async (_name, damage) => {
    await start();
    const before = [await live('a'), await live('b', 'kit')];
    damage();
    const added = await live('c');
    expect((await daemon.dispatch({ room: 'a' })).status).toBe(409);
    for (const { id, pid } of before) expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
    await says(/the database was lost|the database file was removed/);
    await recorded([...before, added].map((one) => one.id));
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await listed()).toEqual([...before, added].map((one) => one.id).sort());
    for (const { id, pid } of before)
      expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    for (const { id } of [...before, added]) await daemon.release(id);
    for (const { id } of [...before, added])
      expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
    expect(marked(daemon.instanceId())).toEqual([]);
  });

  it('an old copy in place of the database is set aside, and ended sessions are still known', async () => {
    await start();
    const { id: ended } = await live('before');
    await daemon.release(ended);
    await daemon.ended(ended);
    const { id, pid } = await live('a');
    cpSync(database(), database('.new'));
    renameSync(database('.new'), database());
    const { id: added } = await live('b');
    expect((await registry()).setAside).toContain('registry.db.left-');
    expect((await daemon.session(ended)).state).toBe('released');
    await recorded([id, added]);
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await listed()).toEqual([id, added].sort());
    expect(await daemon.session(id)).toMatchObject({ pid, restarts: 0 });
    expect((await daemon.session(ended)).state).toBe('released');
  });

  it('a corrupt database is set aside at a start, and the calls are rebuilt', async () => {
    await start();
    const { id, pid } = await live('a', 'kit');
    daemon.signal('SIGKILL');
    await daemon.exited();
    for (const name of ['-wal', '-shm']) rmSync(database(name), { force: true });
    writeFileSync(database(), 'garbage '.repeat(2000));
    await daemon.start();
    // Race: the folder may not have the last step yet. The worker then reports ready again.
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    expect((await registry()).setAside).toContain('registry.db.corrupt-');
    expect(readdirSync(join(daemon.dir, 'state')).filter((name) => name.includes('corrupt'))).toHaveLength(1);
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
  });
});

describe('a moved state directory', () => {
  it('two supervisors that had the same state directory keep their own calls', async () => {
    await start();
    const first = await live('a', 'kit');
    const state = join(daemon.dir, 'state');
    renameSync(state, `${state}.old`);
    mkdirSync(state);
    const second = new Daemon({ config: { ...config, state_dir: state } });
    try {
      await second.start();
      const { id } = await second.reaches((await second.dispatch({ room: 'b' })).body.id, ['live']);
      const refused = await daemon.dispatch({ room: 'c' });
      expect(refused).toMatchObject({ status: 503, body: { code: 'registry_unavailable' } });
      expect(refused.body).toMatchObject({ detail: expect.stringContaining('another supervisor uses it') });
      expect(await daemon.reaches(first.id, ['live'])).toMatchObject({ pid: first.pid });
      second.signal('SIGKILL');
      await second.exited();
      await second.start();
      const all = await second.get<{ sessions: SessionView[] }>('/v1/sessions');
      expect(all.body.sessions.map((one) => one.id)).toEqual([id]);
      await second.release(id);
      await second.ended(id);
      expect(second.stderr + second.stdout).not.toContain('took the database away');
    } finally {
      await second.close();
    }
    rmSync(state, { recursive: true });
    renameSync(`${state}.old`, state);
    await until(
      'the first supervisor records again',
      async () => (await daemon.get('/readyz')).status === 200,
      15_000,
    );
    expect(await daemon.reaches(first.id, ['live'])).toMatchObject({ pid: first.pid, restarts: 0 });
    await daemon.release(first.id);
    expect(await daemon.ended(first.id)).toMatchObject({ reason: 'requested' });
  });
});

describe('damaged records', () => {
  const damage = (sql: string) => {
    const file = new DatabaseSync(database());
    file.exec(sql);
    file.close();
  };
  const withoutLimits = `UPDATE sessions SET body = json_remove(body, '$.spec.limits')`;

  it.each([
    ['an empty record', `UPDATE sessions SET body = '{}'`],
    ['a record without its limits', withoutLimits],
  ])('%s is set aside and its session rebuilt with its room, and the other sessions go on', async (_name, sql) => {
    await start();
    const [{ id: damaged, pid }, other] = [await live('a'), await live('b', 'kit')];
    daemon.signal('SIGKILL');
    await daemon.exited();
    damage(`${sql} WHERE id = '${damaged}'`);
    await daemon.start();
    expect((await daemon.dispatch({ room: 'a' })).status).toBe(409);
    expect(await daemon.reaches(other.id, ['live'])).toMatchObject({ pid: other.pid, restarts: 0 });
    expect(await daemon.reaches(damaged, ['live'])).toMatchObject({ pid, restarts: 0 });
    await says(/records of sessions are damaged and were set aside/);
    const [aside = ''] = readdirSync(join(daemon.dir, 'state')).filter((name) => name.includes('.records-'));
    expect(readFileSync(join(daemon.dir, 'state', aside), 'utf8')).toContain(damaged);
    await daemon.release(damaged);
    expect(await daemon.ended(damaged)).toMatchObject({ reason: 'requested' });
    await live('a');
  });

  it('a damaged record of an ended session spoils neither the list nor a start', async () => {
    await start();
    const { id } = await live('a');
    await daemon.release(id);
    await daemon.ended(id);
    const { id: other } = await live('b');
    daemon.signal('SIGKILL');
    await daemon.exited();
    damage(`UPDATE sessions SET body = '{}' WHERE id = '${id}'`);
    await daemon.start();
    const all = await daemon.get<{ sessions: SessionView[] }>('/v1/sessions');
    expect([all.status, all.body.sessions.map((one) => one.id)]).toEqual([200, [other]]);
    expect((await daemon.get(`/v1/sessions/${id}`)).status).toBe(404);
  });
});

/** Only root can mount a small disk. */
describe.runIf(process.getuid?.() === 0)('a full disk', () => {
  const mount = (size: string) => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir]);
    unmounts.push(() => {
      execFileSync('umount', ['-l', dir]);
      rmSync(dir, { recursive: true, force: true });
    });
    return dir;
  };
  /** Fills the disk to the last byte, in smaller and smaller pieces. */
  const fill = (dir: string) => {
    const path = join(dir, 'filler');
    for (let size = 65_536; size >= 1; size = Math.floor(size / 4)) append(path, size);
    return path;
  };
  const append = (path: string, size: number) => {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
    } catch {
      // A piece of this size does not fit any more.
    }
  };

  const refusesAndGoesOn = async (begin: (dir: string) => () => void) => {
    const dir = join(mount('8m'), 'd');
    mkdirSync(dir);
    await start(dir);
    const [call, other] = [await live('a', 'kit'), await live('b')];
    const end = begin(dir);
    undo.push(end);
    const refused = await until('a new call is refused', async () => {
      const answer = await daemon.dispatch({ room: `c${Date.now()}` });
      return answer.status === 201 ? null : answer;
    });
    expect(refused).toMatchObject({ status: 503, body: { code: 'registry_unavailable' } });
    expect(await daemon.reaches(call.id, ['live'])).toMatchObject({ pid: call.pid });
    expect((await daemon.get('/readyz')).status).toBe(503);
    await daemon.release(other.id);
    expect(await daemon.ended(other.id)).toMatchObject({ reason: 'requested' });
    expect(isAlive(other.pid ?? 0)).toBe(false);
    end();
    undo.pop();
    await until(
      'the supervisor records again',
      async () => (await daemon.dispatch({ room: 'd' })).status !== 503,
      30_000,
    );
    await daemon.recorded(other.id, 'released');
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await daemon.reaches(call.id, ['live'])).toMatchObject({ pid: call.pid });
    expect(await daemon.session(other.id)).toMatchObject({ state: 'released', reason: 'requested' });
  };

  it('calls go on while the disk is full, new ones are refused, and the record is complete afterwards', () =>
    refusesAndGoesOn((dir) => {
      const path = fill(dir);
      return () => rmSync(path, { force: true });
    }));

  it('the supervisor is ready again after a full disk, although no session waits for its record', async () => {
    const dir = join(mount('8m'), 'd');
    mkdirSync(dir);
    await start(dir);
    const filler = fill(dir);
    await until(
      'a call is refused',
      async () => (await daemon.dispatch({ room: `c${Date.now()}` })).status === 503,
    );
    await until(
      'no session is open',
      async () =>
        (await daemon.get<{ sessions: unknown[] }>('/v1/sessions?state=open')).body.sessions.length === 0,
    );
    expect((await daemon.get('/readyz')).status).toBe(503);
    rmSync(filler);
    await until('the supervisor is ready', async () => (await daemon.get('/readyz')).status === 200, 15_000);
  });

  it('a supervisor that starts on a full disk adopts its calls, and records them when there is room', async () => {
    const dir = join(mount('8m'), 'd');
    mkdirSync(dir);
    await start(dir);
    const { id, pid } = await live('a', 'kit');
    const { id: ends } = await live('b');
    daemon.signal('SIGKILL');
    await daemon.exited();
    const filler = fill(dir);
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    await until(
      'a call is refused',
      async () => (await daemon.dispatch({ room: `c${Date.now()}` })).status === 503,
    );
    await daemon.release(ends);
    expect(await daemon.ended(ends)).toMatchObject({ reason: 'requested' });
    rmSync(filler);
    await daemon.recorded(ends, 'released');
    await daemon.reaches((await daemon.dispatch({ room: 'c' })).body.id, ['live']);
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
  });

  it("a disk that a worker's log filled ends neither the worker nor the supervisor", async () => {
    const dir = join(mount('8m'), 'd');
    mkdirSync(dir);
    await start(dir);
    const { id, pid } = await live('a', 'loud');
    await until(
      'the disk is full',
      () => {
        try {
          writeFileSync(join(dir, 'probe'), Buffer.alloc(65_536));
          return false;
        } catch {
          return true;
        }
      },
      30_000,
    );
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
    rmSync(join(dir, 'probe'), { force: true });
    // curfew cuts the log, so that the disk has room for the next record.
    const other = await until('another call is accepted', async () => {
      const { status, body } = await daemon.dispatch({ room: 'b' });
      return status === 201 ? body : null;
    });
    await until(
      'the other call has started or ended',
      async () => (await daemon.session(other.id)).state !== 'starting',
    );
    await says(/the disk is almost full/);
    expect(daemon.stderr + daemon.stdout).not.toContain('could not be cut');
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
    expect(isAlive(pid ?? 0)).toBe(false);
  });
});
