/** SIGKILL of the supervisor and a new start: calls go on, and endings in between are reported truly. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';

const fixture = (name: string) => join(ROOT, 'test/fixtures', name);
let daemon: Daemon;

beforeEach(async () => {
  daemon = await new Daemon({
    config: {
      limits: { start_rate: '1000/s', sessions: 10, queue: 5 },
      agents: {
        default: { command: ['sleep', '1000'] },
        kit: { command: [process.execPath, fixture('kits/agent.mjs')], protocol: 'curfew' },
        brief: {
          command: [process.execPath, fixture('kits/agent.mjs')],
          protocol: 'curfew',
          heartbeat_stale: '5s',
          max_duration: '20s',
        },
        stubborn: { command: [fixture('workers/ignores-term.sh')], ladder: { term: '3s', kill: '5s' } },
      },
    },
  }).start();
});

afterEach(async () => {
  await daemon.close();
});

/** Waits until the database and the worker's folder say live, too: both follow the answer by a moment. */
const live = async (room: string, agent: string) => {
  const { body } = await daemon.dispatch({ room, agent });
  const session = await daemon.reaches(body.id, ['live']);
  await daemon.recorded(body.id, 'live');
  const record = join(daemon.dir, 'state/workers', `${body.id}.1`, 'record.json');
  await until('the folder of the worker says live', () =>
    readFileSync(record, 'utf8').includes('"name":"live"'),
  );
  return session;
};
const restart = async () => {
  daemon.signal('SIGKILL');
  await daemon.exited();
  await daemon.start();
};

describe('a failed start', () => {
  it('a start that fails half-way says why and leaves each call to the next start', async () => {
    const before = [await live('a', 'default'), await live('b', 'kit')];
    daemon.signal('SIGKILL');
    await daemon.exited();
    const socket = join(daemon.dir, 'state/control.sock');
    rmSync(socket);
    mkdirSync(join(socket, 'in the way'), { recursive: true });
    await expect(daemon.start()).rejects.toThrow(/the daemon exited with 2.*control\.sock/s);
    rmSync(socket, { recursive: true });
    await daemon.start();
    // Race: the kill can come before the record says live. The worker then reports ready again.
    for (const { id, pid } of before)
      expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
  });
});

describe('hostile files in the folder of a worker', () => {
  const inFolder = (id: string, name: string) => join(daemon.dir, 'state/workers', `${id}.1`, name);
  const makeFifo = (path: string) => {
    rmSync(path, { force: true, recursive: true });
    execFileSync('mkfifo', [path]);
  };

  it("FIFOs in a worker's folder hold up neither calls, nor a restart, nor the session's end", async () => {
    const { id, pid } = await live('a', 'default');
    makeFifo(inFolder(id, 'log'));
    for (let round = 0; round < 8; round++)
      expect((await daemon.get(`/v1/sessions/${id}/logs`)).status).toBe(200);
    await live('b', 'default');
    for (const name of ['status', 'cgroup', 'claim', 'pid', 'record.json']) makeFifo(inFolder(id, name));
    await restart();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(isAlive(pid ?? 0)).toBe(false);
    await live('c', 'default');
    expect(await daemon.stop()).toBe(0);
  });

  it("FIFOs in one worker's folder do not keep curfew from rebuilding the other calls without the database", async () => {
    const [{ id: blocked }, { id, pid }] = [await live('a', 'default'), await live('b', 'default')];
    daemon.signal('SIGKILL');
    await daemon.exited();
    for (const name of ['status', 'cgroup', 'record.json']) makeFifo(inFolder(blocked, name));
    rmSync(join(daemon.dir, 'state/registry.db'));
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    expect((await daemon.get(`/v1/sessions/${blocked}`)).status).toBe(404);
    expect(await daemon.stop()).toBe(0);
    killAll(marked(daemon.instanceId()).map((one) => one.pid));
  });

  it('a worker with a folder in place of its cgroup file is not unkillable', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    rmSync(inFolder(id, 'cgroup'), { force: true });
    mkdirSync(inFolder(id, 'cgroup'));
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(isAlive(pid ?? 0)).toBe(false);
  });

  it('a worker with a file in place of its whole folder is not unkillable', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    rmSync(inFolder(id, ''), { recursive: true });
    writeFileSync(inFolder(id, '').replace(/\/$/, ''), '');
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
    await daemon.release(id);
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(isAlive(pid ?? 0)).toBe(false);
  });
});

describe('FIFOs in the state directory', () => {
  it('FIFOs in the state directory hold up neither a start nor a drain', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    const inState = (name: string) => join(daemon.dir, 'state', name);
    for (const name of ['supervisor.pid', 'cgroup', 'drain.json.new', 'audit.log']) {
      rmSync(inState(name), { force: true });
      execFileSync('mkfifo', [inState(name)]);
    }
    await daemon.start();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    expect((await daemon.call('POST', '/v1/drain', {})).status).toBe(200);
    await until('the log names the drain', () =>
      daemon.stderr.includes('the state of the drain could not be written'),
    );
    await until('the log names the audit file', () =>
      daemon.stderr.includes('the audit file could not be written'),
    );
    expect((await daemon.get(`/v1/sessions/${id}`)).status).toBe(200);
  });
});

describe('a lost secret of the instance', () => {
  it.each([
    'master.key',
    'instance.id',
  ])('calls go on without %s, and a deadline or a release still ends them', async (name) => {
    const [timed, released] = [await live('a', 'brief'), await live('b', 'brief')];
    const before = daemon.instanceId();
    daemon.signal('SIGKILL');
    await daemon.exited();
    rmSync(join(daemon.dir, 'state', name));
    // A start makes the file again and then fails. The next start must also know that it is new.
    const socket = join(daemon.dir, 'state/control.sock');
    rmSync(socket);
    mkdirSync(join(socket, 'in the way'), { recursive: true });
    await expect(daemon.start()).rejects.toThrow();
    rmSync(socket, { recursive: true });
    await daemon.start();
    await until('the log says so', () => daemon.stderr.includes('their workers cannot reconnect'));
    for (const { id, pid } of [timed, released]) {
      const seen = await daemon.reaches(id, ['live']);
      expect(seen).toMatchObject({ pid, restarts: 0 });
      expect(seen.deadlines.map((one) => one.kind)).not.toContain('unresponsive');
    }
    await daemon.release(released.id);
    expect(await daemon.ended(released.id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(await daemon.ended(timed.id)).toMatchObject({ state: 'released', reason: 'max_duration' });
    expect(marked(before)).toEqual([]);
    const { id, pid } = await live('a', 'brief');
    expect((await daemon.session(id)).deadlines.map((one) => one.kind)).toContain('unresponsive');
    await restart();
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    expect((await daemon.session(id)).deadlines.map((one) => one.kind)).toContain('unresponsive');
  });
});

describe('a restart after SIGKILL', () => {
  it('a restarted supervisor adopts its workers with their pids and deadlines, ten times in a row', async () => {
    const kit = await live('b', 'kit');
    const before = [await live('a', 'default'), kit, await live('c', 'default')];
    const instance = daemon.instanceId();
    for (let round = 0; round < 10; round++) await restart();
    expect(daemon.instanceId()).toBe(instance);
    for (const { id, pid, deadlines } of before) {
      const after = await daemon.session(id);
      expect(after).toMatchObject({ state: 'live', pid, restarts: 0 });
      const endOf = (list: typeof deadlines) =>
        Date.parse(list.find((one) => one.kind === 'max_duration')?.at ?? '');
      expect(Math.abs(endOf(after.deadlines) - endOf(deadlines))).toBeLessThan(100);
    }
    expect(new Set(marked(instance).map((one) => one.worker)).size).toBe(3);
    expect(await daemon.dispatch({ room: 'a', agent: 'default' })).toMatchObject({ status: 409 });
    await daemon.call('PATCH', `/v1/sessions/${kit.id}/metadata`, { metadata: { lang: 'fr' } });
    await until('the kit has connected again', () => daemon.workerLogs().includes('configure {"lang":"fr"}'));
    for (const { id } of before) await daemon.release(id);
    for (const { id } of before)
      expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(marked(instance)).toEqual([]);
  });

  it('a restarted supervisor reports the true exit of a worker that died meanwhile', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    process.kill(pid ?? 0, 'SIGTERM');
    await daemon.start();
    expect(await daemon.ended(id)).toMatchObject({
      state: 'failed',
      reason: 'crashed',
      exit: { code: null, signal: 'SIGTERM' },
    });
    await live('a', 'default');
  });

  it('a session of a worker that died without a supervisor has the time of that death as its end', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    process.kill(pid ?? 0, 'SIGTERM');
    await until('the shim has written the status', () =>
      existsSync(join(daemon.dir, 'state/workers', `${id}.1`, 'status')),
    );
    const endedMs = Date.now();
    await until('some time has passed', () => Date.now() - endedMs > 2500);
    await daemon.start();
    const { endedAt } = await daemon.ended(id);
    expect(Math.abs(Date.parse(endedAt ?? '') - endedMs)).toBeLessThan(1000);
  });

  it('a restarted supervisor without its database rebuilds the sessions from the folders of their workers', async () => {
    const before = [await live('a', 'default'), await live('b', 'kit')];
    daemon.signal('SIGKILL');
    await daemon.exited();
    for (const name of ['registry.db', 'registry.db-wal', 'registry.db-shm'])
      rmSync(join(daemon.dir, 'state', name), { force: true });
    await daemon.start();
    for (const { id, pid, deadlines } of before) {
      const after = await daemon.session(id);
      expect(after).toMatchObject({ state: 'live', pid, restarts: 0 });
      const endOf = (list: typeof deadlines) => list.find((one) => one.kind === 'max_duration')?.at ?? '';
      expect(Math.abs(Date.parse(endOf(after.deadlines)) - Date.parse(endOf(deadlines)))).toBeLessThan(100);
    }
    expect(await daemon.dispatch({ room: 'a', agent: 'default' })).toMatchObject({ status: 409 });
    for (const { id } of before) await daemon.release(id);
    for (const { id } of before) expect(await daemon.ended(id)).toMatchObject({ reason: 'requested' });
    expect(marked(daemon.instanceId())).toEqual([]);
  });

  it('a restarted supervisor leaves a worker without any record alone, and names it', async () => {
    const { id, pid } = await live('a', 'default');
    daemon.signal('SIGKILL');
    await daemon.exited();
    rmSync(join(daemon.dir, 'state', 'registry.db'));
    rmSync(join(daemon.dir, 'state', 'workers', `${id}.1`), { recursive: true });
    await daemon.start();
    expect((await daemon.get(`/v1/sessions/${id}`)).status).toBe(404);
    expect(isAlive(pid ?? 0)).toBe(true);
    const { body } = await daemon.call<{ verdicts: unknown[] }>('POST', '/v1/sweep', { dryRun: false });
    expect(body.verdicts).toMatchObject([{ pid, kind: 'orphan', action: 'leave', worker: `${id}.1` }]);
    expect(isAlive(pid ?? 0)).toBe(true);
    killAll(marked(daemon.instanceId()).map((one) => one.pid));
  });

  it('a restarted supervisor continues a teardown', async () => {
    const { id } = await live('a', 'stubborn');
    await daemon.release(id);
    await daemon.recorded(id, 'closing');
    await restart();
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'requested' });
    expect(marked(daemon.instanceId())).toEqual([]);
  });

  it('a dispatch during a restart starts its worker once or not at all', async () => {
    const asked = Array.from({ length: 8 }, (_, index) =>
      daemon.dispatch({ room: `r${index}`, id: `d${index}`, agent: 'default' }).catch(() => null),
    );
    await until('some workers run', () => marked(daemon.instanceId()).length > 0);
    await restart();
    await Promise.all(asked);
    for (let index = 0; index < 8; index++) {
      const { status, body } = await daemon.dispatch({
        room: `r${index}`,
        id: `d${index}`,
        agent: 'default',
      });
      expect([200, 201]).toContain(status);
      // The list below comes from the database.
      await daemon.recorded(body.id, (await daemon.reaches(body.id, ['live', 'failed'])).state);
    }
    const workers = marked(daemon.instanceId()).filter((one) => /^\S*sleep 1000$/.test(one.command));
    expect(new Set(workers.map((one) => one.worker)).size).toBe(workers.length);
    const listed = (await daemon.get<{ sessions: { id: string }[] }>('/v1/sessions?state=live')).body
      .sessions;
    expect(workers.map((one) => one.worker.replace(/\.\d+$/, '')).sort()).toEqual(
      listed.map((one) => one.id).sort(),
    );
  });

  it('a restarted supervisor starts each session that waited for the start rate', async () => {
    await daemon.close();
    daemon = await new Daemon({
      config: { limits: { start_rate: '1/s' }, agents: { default: { command: ['sleep', '1000'] } } },
    }).start();
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map((room) => daemon.dispatch({ room })));
    expect(answers.map((one) => one.body.state)).toContain('queued');
    await restart();
    for (const { body } of answers) await daemon.reaches(body.id, ['live']);
  });

  it('a restarted supervisor keeps its queue', async () => {
    const { id: running } = await live('r0', 'default');
    for (let index = 1; index < 10; index++) await live(`r${index}`, 'default');
    const { body } = await daemon.dispatch({ room: 'waiting', agent: 'default' });
    expect(body.state).toBe('queued');
    await restart();
    expect((await daemon.session(body.id)).state).toBe('queued');
    await daemon.release(running);
    await daemon.reaches(body.id, ['live']);
  });
});
