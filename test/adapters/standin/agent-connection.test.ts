/** Every message of the agent protocol, with a scripted agent on a real socket. */
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { JobStatus, JobType, WorkerStatus } from '@livekit/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { LIVEKIT_BOUNDS } from '../../../src/lib/limits/livekit-limits.ts';
import { until } from '../../support/lib/wait.ts';
import { jobOf, StandInRig } from '../../support/livekit/standin-rig.ts';

const W1 = workerId('w-1');
/** As aiohttp names itself. */
const PYTHON = 'Python/3.12 aiohttp/3.13.2';
let rig: StandInRig;

beforeEach(async () => {
  rig = await new StandInRig().listen();
});
afterEach(() => rig.close());

for (const isText of [false, true]) {
  describe(`an agent that speaks ${isText ? 'protojson' : 'protobuf'}`, () => {
    it('registers, receives its job and ends the job', async () => {
      const agent = await rig.registered('w-1', { isText });
      expect(await agent.receives('register')).toMatchObject({
        workerId: 'w-1',
        serverInfo: { protocol: 16 },
      });
      expect(rig.eventsOf('w-1')).toEqual(['hello']);

      expect(rig.assign(W1, jobOf())).toBe(true);
      const { job } = await agent.receives('availability');
      expect(job).toMatchObject({
        id: 'AJ_1',
        type: JobType.JT_ROOM,
        room: { name: 'room-w-1', sid: 'RM_1' },
        metadata: '{"a":1}',
        attributes: { tier: 'gold' },
        agentName: 'greeter',
      });
      expect(job?.state).toMatchObject({ status: JobStatus.JS_RUNNING, workerId: 'w-1' });
      agent.answer('AJ_1');
      expect(await agent.receives('assignment')).toMatchObject({
        job: { id: 'AJ_1' },
        url: 'ws://livekit.example:7880',
        token: 'a-token-for-one-room',
      });
      await rig.awaitEvent('w-1', 'ready');

      expect(rig.standIn.terminate(W1)).toBe(true);
      expect(await agent.receives('termination')).toMatchObject({ jobId: 'AJ_1' });
      agent.send({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_SUCCESS } });
      expect(await rig.awaitEvent('w-1', 'closed')).toEqual({ type: 'closed' });
    });

    it('is pinged, and its answers count as heartbeats', async () => {
      const agent = await rig.registered('w-1', { isText });
      await once(agent.socket, 'ping');
      await rig.awaitEvent('w-1', 'heartbeat');
    });

    it('receives a pong for its ping', async () => {
      const agent = await rig.registered('w-1', { isText });
      agent.send({ case: 'ping', value: { timestamp: 42n } });
      expect((await agent.receives('pong')).lastTimestamp).toBe(42n);
      await rig.awaitEvent('w-1', 'heartbeat');
    });
  });
}

describe('a job of the stand-in', () => {
  it('is not assigned to a worker that is not connected', () => {
    expect(rig.assign(W1, jobOf())).toBe(false);
    expect(rig.standIn.terminate(W1)).toBe(false);
  });

  it('can be assigned during the hello, and the worker still receives its registration first', async () => {
    rig.onHello = (worker) => void rig.assign(worker, jobOf());
    const agent = await rig.registered();
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    expect(agent.received.map((one) => one.case)).toEqual(['register', 'availability', 'pong']);
  });

  it('is not assigned to a worker that had a job before', async () => {
    const agent = await withJob();
    agent.send({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_SUCCESS } });
    await rig.awaitEvent('w-1', 'closed');
    expect(rig.assign(W1, jobOf({ id: 'AJ_2' }))).toBe(false);
  });

  it('is offered once, also when it is assigned several times', async () => {
    const agent = await rig.registered();
    for (let count = 0; count < 3; count += 1) rig.assign(W1, jobOf());
    await agent.receives('availability');
    agent.answer('AJ_1');
    await rig.awaitEvent('w-1', 'ready');
    expect(rig.assign(W1, jobOf())).toBe(true);
    await until(
      'ready is reported again',
      () => rig.typesOf('w-1').filter((type) => type === 'ready').length === 2,
    );
    expect([agent.count('availability'), agent.count('assignment')]).toEqual([1, 1]);
  });

  it('is asked for once when the agent rejects it, and the agent can take another job', async () => {
    const agent = await rig.registered();
    rig.assign(W1, jobOf());
    await agent.receives('availability');
    const value = { jobId: 'AJ_1', available: false, terminate: true };
    agent.send({ case: 'availability', value });
    await until('the supervisor has the answer', () => rig.answers.length === 1);
    expect(rig.answers[0]?.answer).toEqual({ kind: 'rejected', isFinal: true });
    rig.assign(W1, jobOf({ id: 'AJ_2' }));
    await agent.receives('availability', 2);
    agent.answer('AJ_2');
    expect(await agent.receives('assignment')).toMatchObject({ job: { id: 'AJ_2' } });
  });

  it('gives the agent what the agent asked for, with the name and the permissions of its registration', async () => {
    const agent = await rig.agent('w-1');
    await agent.opened();
    const allowedPermissions = { canPublish: false, hidden: true };
    agent.send({ case: 'register', value: { agentName: 'own', version: '9.9.9', allowedPermissions } });
    await agent.receives('register');
    rig.assign(W1, jobOf({ agentName: '' }));
    expect((await agent.receives('availability')).job?.agentName).toBe('own');
    const participantAttributes = { shift: 'night' };
    agent.send({
      case: 'availability',
      value: { jobId: 'AJ_1', available: true, participantName: 'Ada', participantAttributes },
    });
    await agent.receives('assignment');
    expect(rig.answers[0]?.answer).toMatchObject({
      identity: '',
      name: 'Ada',
      attributes: { shift: 'night', 'lk.agent_name': 'own' },
      permissions: { canPublish: false, hidden: true },
    });
  });

  it('brings the grant agent only if profile and launcher gave the agent the full access', async () => {
    const granted = async (worker: string, access: 'full' | 'room', launcher: 'full' | 'room') => {
      rig.access = access;
      const agent = await rig.registered(worker, { launcher });
      rig.assign(workerId(worker), jobOf());
      await agent.receives('availability');
      agent.answer('AJ_1');
      return until('the answer is there', () => rig.answers.find((one) => one.worker === worker)?.answer);
    };
    expect(await granted('w-1', 'room', 'full')).toMatchObject({ agentGrant: false });
    rig.rooms.set(workerId('w-2'), rig.rooms.get(W1) ?? []);
    expect(await granted('w-2', 'full', 'full')).toMatchObject({ agentGrant: true });
  });

  it('is offered again to an agent with too much load by its own measure, with one line in the log', async () => {
    const agent = await rig.registered('w-1', { userAgent: PYTHON, version: '1.8.9' });
    agent.send({ case: 'updateWorker', value: { status: WorkerStatus.WS_FULL } });
    rig.assign(W1, jobOf());
    for (const nth of [1, 2, 3]) {
      await agent.receives('availability', nth);
      agent.answer('AJ_1', nth === 3);
    }
    await rig.awaitEvent('w-1', 'ready');
    expect(rig.logged.filter(({ message }) => message.includes('too much load'))).toHaveLength(1);
  });

  for (const [what, options] of [
    ['JavaScript', { version: '1.9.0' }],
    ['Python before 1.4', { userAgent: PYTHON, version: '1.3.12' }],
  ] as const)
    it(`is rejected by an agent with too much load in ${what}, because that framework never refuses by its load`, async () => {
      const agent = await rig.registered('w-1', options);
      agent.send({ case: 'updateWorker', value: { status: WorkerStatus.WS_FULL } });
      rig.assign(W1, jobOf());
      await agent.receives('availability');
      agent.answer('AJ_1', false);
      await until('the supervisor has the answer', () => rig.answers.length === 1);
      expect(rig.answers[0]?.answer).toEqual({ kind: 'rejected', isFinal: false });
      expect(rig.logged.filter(({ message }) => message.includes('too much load'))).toEqual([]);
    });

  it('is accepted with as much metadata as LiveKit accepts, also as JSON', async () => {
    const agent = await rig.registered('w-1', { isText: true });
    rig.assign(W1, jobOf());
    await agent.receives('availability');
    const participantMetadata = '"'.repeat(LIVEKIT_BOUNDS.metadataBytes);
    agent.answer('AJ_1', true, { participantMetadata });
    expect((await agent.receives('assignment')).job?.id).toBe('AJ_1');
  });

  it('ignores a second answer and an answer for another job', async () => {
    const agent = await rig.registered();
    rig.assign(W1, jobOf());
    await agent.receives('availability');
    for (const id of ['AJ_other', 'AJ_1', 'AJ_1']) agent.answer(id);
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    expect(agent.count('assignment')).toBe(1);
    expect(rig.typesOf('w-1').filter((type) => type === 'ready')).toHaveLength(1);
  });

  it('that is reported as running counts as a heartbeat', async () => {
    const agent = await withJob();
    agent.send({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_RUNNING } });
    await rig.awaitEvent('w-1', 'heartbeat');
  });

  it('that failed is reported with its error, so that another worker can replace it', async () => {
    const agent = await withJob();
    agent.send({
      case: 'updateJob',
      value: { jobId: 'AJ_1', status: JobStatus.JS_FAILED, error: 'no voice' },
    });
    expect(await rig.awaitEvent('w-1', 'failed')).toEqual({ type: 'failed', message: 'no voice' });
    expect(rig.typesOf('w-1')).not.toContain('closed');
  });

  it.each([
    ['1', 'the process of the job exited with code 1', true],
    [
      'SIGKILL',
      "the process of the job was ended by SIGKILL, which curfew did not send; the kernel's OOM killer is one possible sender",
      false,
    ],
    ['SIGSEGV', 'the process of the job was ended by SIGSEGV', false],
    [
      'SIGKILL by the framework',
      "the process of the job was ended by SIGKILL, which the framework itself sent; the worker's log says why",
      false,
    ],
  ])('of a process that ended by %s fails with these words, and an exit code counts as an exception', async (how, message, raised) => {
    const agent = await withJob();
    const error = `job process ended: ${how}`;
    agent.send({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_FAILED, error } });
    expect(await rig.awaitEvent('w-1', 'failed')).toEqual({
      type: 'failed',
      message,
      ...(raised && { raised }),
    });
  });

  it('is not ended by a report about another job', async () => {
    const agent = await withJob();
    agent.send({ case: 'updateJob', value: { jobId: 'AJ_2', status: JobStatus.JS_SUCCESS } });
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    expect(rig.typesOf('w-1')).not.toContain('closed');
  });

  it('is withdrawn when it ends before the agent accepted it', async () => {
    const agent = await rig.registered();
    rig.assign(W1, jobOf());
    await agent.receives('availability');
    expect(rig.standIn.terminate(W1)).toBe(true);
    expect(await rig.awaitEvent('w-1', 'closed')).toEqual({ type: 'closed' });
    agent.answer('AJ_1');
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    expect(agent.count('assignment')).toBe(0);
  });
});

describe('the end of a job that is reported over HTTP', () => {
  const report = async (body: string, token?: string, more: Record<string, string> = {}) =>
    fetch(`${rig.standIn.url.replace('ws', 'http')}/curfew/job`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token ?? (await rig.token('w-1'))}`, ...more },
      body,
    });

  it('counts once, and only from the worker that has the job', async () => {
    await withJob();
    const body = JSON.stringify({ jobId: 'AJ_1', status: 'JS_FAILED', error: 'no voice' });
    expect((await report(body, await rig.token('w-1', { apiSecret: 'x'.repeat(40) }))).status).toBe(401);
    expect((await report(body, await rig.token('w-2'))).status).toBe(503);
    await rig.registered('w-2');
    expect((await report(body, await rig.token('w-2'))).status).toBe(204);
    expect((await report('nonsense')).status).toBe(400);
    expect((await report('x'.repeat(1024 * 1024)).catch(() => null))?.status ?? 400).toBe(400);
    expect(rig.typesOf('w-1')).not.toContain('failed');
    for (let count = 0; count < 2; count += 1) expect((await report(body)).status).toBe(204);
    expect(rig.typesOf('w-1').filter((type) => type === 'failed')).toHaveLength(1);
  });

  it('tells of a dialled phone at once, also before the agent has connected to a supervisor that started again', async () => {
    const body = JSON.stringify({ jobId: '', status: 'JS_RUNNING', error: '' });
    expect((await report(body, undefined, { 'x-curfew-dialled': '1' })).status).toBe(503);
    await rig.awaitEvent('w-1', 'dialled');
    expect(rig.typesOf('w-1')).toEqual(['dialled']);
  });
});

describe('a framework that is too old', () => {
  it('is named in the log once', async () => {
    const agent = await rig.agent();
    await agent.opened();
    agent.register('0.12.1');
    await agent.receives('register');
    expect(rig.logged).toContainEqual({
      fields: { worker: 'w-1' },
      message: expect.stringMatching(/^version 0\.12\.1 .* Python 1\.8\.9 and JavaScript 1\.9\.0$/),
    });
  });
});

describe('a flood of heartbeats', () => {
  it('is merged into few heartbeats', async () => {
    const agent = await rig.registered();
    for (let count = 0; count < 1000; count += 1) agent.send({ case: 'updateWorker', value: { load: 0.5 } });
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    const few = rig.typesOf('w-1').filter((type) => type === 'heartbeat').length;
    expect(few).toBeGreaterThan(0);
    expect(few).toBeLessThan(100);
  });
});

describe('a worker that connects again', () => {
  it('replaces its older connection without a closed event', async () => {
    const older = await withJob();
    const newer = await rig.registered();
    await older.closed();
    expect(rig.typesOf('w-1')).not.toContain('gone');
    older.socket.terminate();
    expect(rig.standIn.terminate(W1)).toBe(true);
    await newer.receives('termination');
    newer.socket.terminate();
    await until('its end is reported', () => rig.eventsOf('w-1').includes('gone'));
  });

  it('receives again the offer that it had not answered', async () => {
    const first = await rig.registered();
    rig.assign(W1, jobOf());
    await first.receives('availability');
    first.socket.terminate();
    await until('its end is reported', () => rig.eventsOf('w-1').includes('gone'));
    const second = await rig.registered();
    await second.receives('availability');
    second.answer('AJ_1');
    await second.receives('assignment');
  });

  it('tells a new supervisor which job it runs, and that job can be ended', async () => {
    await withJob();
    await rig.restart();
    rmSync(join(rig.instance.workersDir, 'w-1', 'job'));
    const agent = await rig.registered();
    agent.send({ case: 'migrateJob', value: { jobIds: ['AJ_1'] } });
    await rig.awaitEvent('w-1', 'heartbeat');
    rig.assign(W1, jobOf());
    await until(
      'ready is reported',
      () => rig.typesOf('w-1').filter((type) => type === 'ready').length === 2,
    );
    expect(agent.count('availability')).toBe(0);
    rig.standIn.terminate(W1);
    expect(await agent.receives('termination')).toMatchObject({ jobId: 'AJ_1' });
  });

  it.each([
    'the launcher',
    'the framework',
  ])('does not get its job a second time when a full disk had no place for the id, and %s names the job', async (teller) => {
    // No file can be written in the place of a folder.
    mkdirSync(join(rig.instance.workersDir, 'w-1', 'job'));
    await withJob();
    await rig.restart();
    rig.onHello = (worker) => void rig.assign(worker, jobOf());
    const isLauncher = teller === 'the launcher';
    const agent = await rig.registered('w-1', isLauncher ? { launcher: 'room', jobId: 'AJ_1' } : {});
    if (!isLauncher) agent.send({ case: 'migrateJob', value: { jobIds: ['AJ_1'] } });
    await until('it is ready', () => rig.typesOf('w-1').filter((type) => type === 'ready').length === 2);
    agent.answer('AJ_1');
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
    expect(agent.count('assignment')).toBe(0);
    expect(agent.count('availability')).toBe(isLauncher ? 0 : 1);
    rig.standIn.terminate(W1);
    expect(await agent.receives('termination')).toMatchObject({ jobId: 'AJ_1' });
  });

  it('does not count as ready for another job than the one that it runs', async () => {
    await withJob();
    await rig.restart();
    const agent = await rig.registered();
    expect(rig.assign(W1, jobOf({ id: 'AJ_2' }))).toBe(false);
    rig.standIn.terminate(W1);
    expect(await agent.receives('termination')).toMatchObject({ jobId: 'AJ_1' });
    expect(rig.typesOf('w-1').filter((type) => type === 'ready')).toHaveLength(1);
  });

  it('does not need to name its job to have the job ended', async () => {
    await withJob();
    await rig.restart();
    const agent = await rig.registered();
    rig.standIn.terminate(W1);
    expect(await agent.receives('termination')).toMatchObject({ jobId: 'AJ_1' });
  });
});

async function withJob() {
  const agent = await rig.registered();
  rig.assign(W1, jobOf());
  await agent.receives('availability');
  agent.answer('AJ_1');
  await rig.awaitEvent('w-1', 'ready');
  return agent;
}
