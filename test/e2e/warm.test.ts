/** Warm workers: a call gets its worker at once, also when workers of the pool die. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { killAll } from '../support/processes/test-processes.ts';

const NODE = [process.execPath, join(ROOT, 'test/fixtures/workers/warm.mjs')];
const PYTHON = ['python3', join(ROOT, 'test/fixtures/workers/warm.py')];

/** The long run uses CURFEW_SOAK_SECONDS=120. */
const SOAK_SECONDS = Number(process.env.CURFEW_SOAK_SECONDS ?? 5);

describe('warm workers', () => {
  let daemon: Daemon;

  afterEach(async () => {
    await daemon?.close();
  });

  async function serve(agent: object, more: object = {}): Promise<void> {
    const agents = {
      default: { command: NODE, protocol: 'curfew', warm: 2, ladder: { term: '1s' }, ...agent },
    };
    daemon = await new Daemon({ config: { agents, limits: { sessions: 1000, queue: 0 }, ...more } }).start();
  }
  const pool = async () =>
    (await daemon.get<CapacityView>('/v1/capacity')).body.warm.find((one) => one.agent === 'default');
  const ready = (count: number) =>
    until(`${count} warm workers are ready`, async () => (await pool())?.ready === count, 30_000);
  const workers = () => marked(daemon.instanceId()).filter((one) => one.command.includes('warm.'));
  const warmPids = () =>
    workers()
      .filter((one) => one.worker.startsWith('warm-'))
      .map((one) => one.pid);
  /** The log of the worker with this main process. */
  const logOf = (pid: number | null) => {
    const id = workers().find((one) => one.pid === pid)?.worker ?? '';
    return readFileSync(join(daemon.dir, 'state', 'workers', id, 'log'), 'utf8');
  };

  it.each([
    ['Node', NODE],
    ['Python', PYTHON],
  ])('a warm worker of the %s kit gets a job, and another one is started for the pool', async (_kit, command) => {
    await serve({ command });
    await ready(2);
    const before = warmPids();
    const { body } = await daemon.dispatch({ room: 'r', metadata: { lang: 'de' } });
    const session = await daemon.reaches(body.id, ['live']);
    expect(before).toContain(session.pid);
    await ready(2);
    expect(logOf(session.pid)).toMatch(new RegExp(`job ${body.id} in r with .*de`));
    await daemon.release(body.id);
    expect(await daemon.reaches(body.id, ['released'])).toMatchObject({
      reason: 'requested',
      exit: { code: 0 },
    });
    expect(new Set(workers().map((one) => one.worker)).size).toBe(2);
  });

  it('a warm worker that dies on its assignment is replaced within the same dispatch', async () => {
    await serve({ env: { MODE: 'dies-on-assignment' }, warm: 1 });
    await ready(1);
    const { body } = await daemon.dispatch({ room: 'r' });
    expect(await daemon.reaches(body.id, ['live', 'failed'])).toMatchObject({ state: 'live', reason: null });
  });

  it('a killed warm worker gets no call, and no dispatch fails', async () => {
    await serve({ warm: 3 });
    await ready(3);
    for (let round = 0; round < 20; round++) {
      const [victim] = warmPids();
      if (victim !== undefined) process.kill(victim, 'SIGKILL');
      const answer = await daemon.dispatch({ room: `r${round}` });
      expect(answer.status).toBe(201);
      expect(await daemon.reaches(answer.body.id, ['live', 'failed'])).toMatchObject({ state: 'live' });
    }
  });

  it(`no dispatch fails while warm workers die at random under 20 calls a second for ${SOAK_SECONDS} s`, async () => {
    await serve(
      { command: PYTHON, warm: 6 },
      { limits: { sessions: 1000, start_rate: '1000/s', per_user: 'off' } },
    );
    await ready(6);
    const answers: Promise<{ status: number; body: { id: string } }>[] = [];
    const untilMs = performance.now() + SOAK_SECONDS * 1000;
    for (let index = 0; performance.now() < untilMs; index++) {
      answers.push(daemon.dispatch({ room: `soak ${index}` }));
      const { sessions } = (await daemon.get<{ sessions: { pid: number }[] }>('/v1/sessions?limit=500')).body;
      const pids = warmPids().filter((pid) => !sessions.some((one) => one.pid === pid));
      const victim = pids[Math.floor(Math.random() * pids.length)];
      if (index % 4 === 0 && victim !== undefined) killAll([victim]);
      await pause(1000 / 20);
    }
    const failures = await Promise.all(
      answers.map(async (one) => {
        const { body } = await one;
        const { state, reason, evidence } = await daemon.reaches(body.id, ['live', 'failed'], 60_000);
        return state === 'live' ? null : { reason, evidence };
      }),
    );
    expect(failures.filter((one) => one !== null)).toEqual([]);
    await daemon.call('POST', '/v1/sessions/release', { all: true });
  });

  it('the pool starts crashing workers less and less often, and capacity names the crash', async () => {
    await serve({ env: { MODE: 'crashes' }, warm: 1 });
    const view = await until(
      'three warm workers have died',
      async () => {
        const one = await pool();
        return one !== undefined && one.crashes >= 3 ? one : null;
      },
      30_000,
    );
    const worker =
      /^(warm-\S+) exited with code 3 before it had a call$/.exec(view.lastCrash ?? '')?.[1] ?? '';
    expect(view.ready, view.lastCrash ?? '').toBe(0);
    expect((await daemon.get<string>(`/v1/sessions/${worker}/logs`)).status).toBe(200);
    expect((await daemon.get('/v1/sessions/warm-none.1/logs')).status).toBe(404);
    expect(view.startsAgainInMs).toBeGreaterThan(1000);
  });

  it('a restarted supervisor adopts its warm workers, and gives one to the next call', async () => {
    await serve({});
    await ready(2);
    const before = warmPids().sort();
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    await ready(2);
    expect(warmPids().sort()).toEqual(before);
    const { body } = await daemon.dispatch({ room: 'r' });
    expect(before).toContain((await daemon.reaches(body.id, ['live'])).pid);
  });

  it('warm workers survive a stop with `on_term: leave`, and count as no crash', async () => {
    await serve({}, { shutdown: { on_term: 'leave' } });
    await ready(2);
    const before = warmPids().sort();
    daemon.signal('SIGTERM');
    await daemon.exited();
    expect(warmPids().sort()).toEqual(before);
    await daemon.start();
    await ready(2);
    expect(warmPids().sort()).toEqual(before);
    expect(await pool()).toMatchObject({ crashes: 0 });
    // Another SIGTERM would leave the workers running, so the test kills both.
    daemon.signal('SIGKILL');
    await daemon.exited();
    killAll(before);
  });

  it('a warm worker keeps its call when the supervisor is killed', async () => {
    await serve({});
    await ready(2);
    const { body } = await daemon.dispatch({ room: 'r' });
    const { pid } = await daemon.reaches(body.id, ['live']);
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await daemon.reaches(body.id, ['live'])).toMatchObject({ pid, restarts: 0 });
    await daemon.call('PATCH', `/v1/sessions/${body.id}/metadata`, { metadata: { lang: 'fr' } });
    await until('the worker has connected again', () => logOf(pid).includes('configure {"lang":"fr"}'));
    await daemon.release(body.id);
    expect(await daemon.reaches(body.id, ['released'])).toMatchObject({ exit: { code: 0 } });
  });

  it('a changed profile renews the warm workers, and a drain ends them', async () => {
    await serve({ warm: 1 });
    await ready(1);
    const [first] = warmPids();
    const { writeFileSync } = await import('node:fs');
    const config = readFileSync(daemon.configPath, 'utf8').replace(
      'protocol: curfew',
      'protocol: curfew\n    version: "2"',
    );
    writeFileSync(daemon.configPath, config);
    await daemon.call('POST', '/v1/reload', {});
    await until(
      'another warm worker is ready',
      async () => (await pool())?.ready === 1 && !warmPids().includes(first ?? 0),
      30_000,
    );
    await daemon.dispatch({ room: 'r' });
    await daemon.call('POST', '/v1/drain', {});
    await until(
      'no warm worker is left',
      () => new Set(workers().map((one) => one.worker)).size === 1,
      30_000,
    );
  });

  it('a cleanup leaves warm workers alone', async () => {
    await serve({}, { sweep: { grace: '1s' } });
    await ready(2);
    const { body } = await daemon.call<{ verdicts: unknown[] }>('POST', '/v1/sweep', { dryRun: true });
    expect(body.verdicts).toEqual([]);
  });
});
