/** Limits, the queue and the supervisor's stop, with real processes. */
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { killAll } from '../support/processes/test-processes.ts';

const STUBBORN = join(ROOT, 'test/fixtures/workers/ignores-term.sh');
/** Ignores TERM for longer than every test lasts, so that no test depends on the speed of a teardown. */
const PATIENT = { command: [STUBBORN], ladder: { term: '10m' } };
const AGENTS = {
  default: { command: ['sleep', '1000'] },
  stubborn: { command: [STUBBORN], ladder: { term: '1s', kill: '5s' } },
  patient: PATIENT,
};
let daemon: Daemon;

afterEach(async () => {
  await daemon.close();
});

const up = async (config: Record<string, unknown>) => {
  daemon = await new Daemon({ config: { agents: AGENTS, ...config } }).start();
};
const endWorkers = () => killAll(marked(daemon.instanceId()).map((one) => one.pid));
const live = async (room: string, more: Record<string, unknown> = {}) => {
  const { body } = await daemon.dispatch({ room, ...more });
  await daemon.reaches(body.id, ['live']);
  return body.id;
};

describe('at the limit', () => {
  it('a dispatch at the limit is refused with the limit, its holders and Retry-After', async () => {
    await up({ limits: { sessions: 1, queue: 0 } });
    const id = await live('a');
    const answer = await daemon.dispatch({ room: 'b' });
    expect(answer).toMatchObject({
      status: 429,
      body: { code: 'at_capacity', limit: 'host', max: 1, used: 1, holders: [id] },
    });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('a dispatch at the limit of its user is refused, and one of another user is not', async () => {
    await up({ limits: { per_user: 1, queue: 0 } });
    await live('a', { user: 'ann' });
    expect(await daemon.dispatch({ room: 'b', user: 'ann' })).toMatchObject({
      status: 429,
      body: { limit: 'user:ann' },
    });
    await live('c', { user: 'bob' });
  });

  it('a slot is free only when the whole process tree of its session is gone', async () => {
    await up({ limits: { sessions: 1, queue: 0 } });
    const id = await live('a', { agent: 'patient' });
    await daemon.release(id);
    await daemon.reaches(id, ['closing']);
    expect(await daemon.dispatch({ room: 'b' })).toMatchObject({ status: 429 });
    endWorkers();
    await daemon.ended(id);
    expect(marked(daemon.instanceId())).toEqual([]);
    await live('b');
  });

  it('the queue serves its sessions in order, and a released one leaves it', async () => {
    await up({ limits: { sessions: 1, queue: 10, queue_timeout: '60s' } });
    const first = await live('a');
    const waiting = [];
    for (const room of ['b', 'c', 'd']) waiting.push((await daemon.dispatch({ room })).body);
    expect(waiting.map((one) => one.state)).toEqual(['queued', 'queued', 'queued']);
    expect((await daemon.get<CapacityView>('/v1/capacity')).body.queue).toMatchObject({
      length: 3,
      sessions: waiting.map((one) => one.id),
    });
    const [b, c, d] = waiting.map((one) => one.id) as [string, string, string];
    await daemon.release(b);
    expect(await daemon.ended(b)).toMatchObject({ state: 'released', reason: 'requested', startedAt: null });
    await daemon.release(first);
    await daemon.reaches(c, ['live']);
    expect((await daemon.session(d)).state).toBe('queued');
    await daemon.release(c);
    await daemon.reaches(d, ['live']);
  });

  it('a queued session ends as start_timeout after the queue timeout', async () => {
    await up({ limits: { sessions: 1, queue: 10, queue_timeout: '500ms' } });
    await live('a');
    const { body } = await daemon.dispatch({ room: 'b' });
    const ended = await daemon.ended(body.id);
    expect(ended).toMatchObject({
      state: 'failed',
      reason: 'start_timeout',
      evidence: { cause: 'queue_timeout', detail: expect.stringContaining('host') },
    });
  });

  it('a limit out of its range is refused, and the answer names the range', async () => {
    await up({});
    const answer = await daemon.dispatch({ room: 'a', limits: { activityIdleTimeoutMs: 5000 } });
    expect(answer).toMatchObject({
      status: 400,
      body: {
        code: 'invalid_request',
        detail: expect.stringMatching(/activityIdleTimeoutMs.*30000 to 3599000/),
      },
    });
  });
});

describe('start and stop', () => {
  it('SIGTERM releases all calls in parallel and exits with 0, and a second SIGTERM skips no step', async () => {
    await up({ limits: { start_rate: '1000/s' } });
    await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        live(`r${index}`, { agent: index % 2 === 0 ? 'stubborn' : 'default' }),
      ),
    );
    const instance = daemon.instanceId();
    expect(marked(instance).length).toBeGreaterThanOrEqual(10);
    daemon.signal('SIGTERM');
    daemon.signal('SIGTERM');
    expect(await daemon.exited()).toBe(0);
    expect(marked(instance)).toEqual([]);
  });

  it('a stopping supervisor takes no new session, and its record says how each session ended', async () => {
    await up({});
    const id = await live('a', { agent: 'patient' });
    daemon.signal('SIGTERM');
    const refused = await until('the supervisor refuses', async () => {
      const answer = await daemon.dispatch({ room: 'b' });
      return answer.status === 503 ? answer : null;
    });
    expect(refused.body).toMatchObject({ code: 'stopping' });
    endWorkers();
    expect(await daemon.exited()).toBe(0);
    await daemon.start();
    expect(await daemon.session(id)).toMatchObject({
      state: 'released',
      reason: 'shutdown',
      evidence: { by: 'SIGTERM' },
    });
  });

  it('a start on a taken port fails, and the message names the port', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    daemon = new Daemon({ config: { agents: AGENTS } });
    daemon = new Daemon({
      dir: daemon.dir,
      config: { agents: AGENTS, listen: { socket: daemon.socket, http: `127.0.0.1:${port}` } },
    });
    await expect(daemon.start()).rejects.toThrow(new RegExp(`exited with 2[^]*${port}`));
    taken.close();
  });

  it('a second supervisor on the same state directory is refused', async () => {
    await up({});
    const second = new Daemon({
      dir: `${daemon.dir}/second`,
      config: { state_dir: join(daemon.dir, 'state'), agents: AGENTS },
    });
    await expect(second.start()).rejects.toThrow(
      new RegExp(`in use by a supervisor with pid\\s+${daemon.pid}`),
    );
  });
});
