/** Every message of the agent protocol, with a hand-written agent on a real socket. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { JobStatus, JobType } from '@livekit/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { until } from '../../support/lib/wait.ts';
import { jobOf, StandInRig } from '../../support/livekit/standin-rig.ts';

const W1 = workerId('w-1');
let rig: StandInRig;

beforeEach(async () => {
  rig = await new StandInRig().listen();
});
afterEach(() => rig.close());

for (const isText of [false, true]) {
  describe(`an agent that speaks ${isText ? 'protojson' : 'protobuf'}`, () => {
    it('registers, is given its job, and ends it', async () => {
      const agent = await rig.registered('w-1', { isText });
      expect(await agent.said('register')).toMatchObject({ workerId: 'w-1', serverInfo: { protocol: 16 } });
      expect(rig.heardOf('w-1')).toEqual(['hello']);

      expect(rig.standIn.assign(W1, jobOf())).toBe(true);
      const { job } = await agent.said('availability');
      expect(job).toMatchObject({
        id: 'AJ_1',
        type: JobType.JT_ROOM,
        room: { name: 'room-w-1', sid: 'RM_1' },
        metadata: '{"a":1}',
        attributes: { tier: 'gold' },
        agentName: 'greeter',
      });
      expect(job?.dispatchId).not.toBe('');
      agent.answer('AJ_1');
      expect(await agent.said('assignment')).toMatchObject({
        job: { id: 'AJ_1' },
        url: 'ws://livekit.example:7880',
        token: 'a-token-for-one-room',
      });
      await rig.heardBy('w-1', 'ready');

      expect(rig.standIn.terminate(W1)).toBe(true);
      expect(await agent.said('termination')).toMatchObject({ jobId: 'AJ_1' });
      agent.say({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_SUCCESS } });
      expect(await rig.heardBy('w-1', 'closed')).toEqual({ type: 'closed' });
    });

    it('is pinged, and its answers are heartbeats', async () => {
      const agent = await rig.registered('w-1', { isText });
      await once(agent.socket, 'ping');
      await rig.heardBy('w-1', 'heartbeat');
    });

    it('has its ping answered', async () => {
      const agent = await rig.registered('w-1', { isText });
      agent.say({ case: 'ping', value: { timestamp: 42n } });
      expect((await agent.said('pong')).lastTimestamp).toBe(42n);
      await rig.heardBy('w-1', 'heartbeat');
    });
  });
}

describe('a job', () => {
  it('is not given to a worker that is not there', () => {
    expect(rig.standIn.assign(W1, jobOf())).toBe(false);
    expect(rig.standIn.terminate(W1)).toBe(false);
  });

  it('may be given while the worker says hello: it hears its welcome first', async () => {
    rig.onHello = (worker) => void rig.standIn.assign(worker, jobOf());
    const agent = await rig.registered();
    agent.say({ case: 'ping', value: {} });
    await agent.said('pong');
    expect(agent.spoken.map((one) => one.case)).toEqual(['register', 'availability', 'pong']);
  });

  it('is given to no worker that had one', async () => {
    const agent = await withJob();
    agent.say({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_SUCCESS } });
    await rig.heardBy('w-1', 'closed');
    expect(rig.standIn.assign(W1, jobOf({ id: 'AJ_2' }))).toBe(false);
  });

  it('is offered once, however often it is assigned', async () => {
    const agent = await rig.registered();
    for (let count = 0; count < 3; count += 1) rig.standIn.assign(W1, jobOf());
    await agent.said('availability');
    agent.answer('AJ_1');
    await rig.heardBy('w-1', 'ready');
    expect(rig.standIn.assign(W1, jobOf())).toBe(true);
    await until(
      'ready is told again',
      () => rig.typesOf('w-1').filter((type) => type === 'ready').length === 2,
    );
    expect([agent.count('availability'), agent.count('assignment')]).toEqual([1, 1]);
  });

  it('that the agent refuses is offered again, with one line in the log', async () => {
    const agent = await rig.registered();
    rig.standIn.assign(W1, jobOf());
    for (const nth of [1, 2, 3]) {
      await agent.said('availability', nth);
      agent.answer('AJ_1', nth === 3);
    }
    await rig.heardBy('w-1', 'ready');
    expect(rig.logged.filter(({ message }) => message.includes('takes no job now'))).toHaveLength(1);
  });

  it('takes no second answer, nor one for another job', async () => {
    const agent = await rig.registered();
    rig.standIn.assign(W1, jobOf());
    await agent.said('availability');
    for (const id of ['AJ_other', 'AJ_1', 'AJ_1']) agent.answer(id);
    agent.say({ case: 'ping', value: {} });
    await agent.said('pong');
    expect(agent.count('assignment')).toBe(1);
    expect(rig.typesOf('w-1').filter((type) => type === 'ready')).toHaveLength(1);
  });

  it('that runs is a heartbeat', async () => {
    const agent = await withJob();
    agent.say({ case: 'updateJob', value: { jobId: 'AJ_1', status: JobStatus.JS_RUNNING } });
    await rig.heardBy('w-1', 'heartbeat');
  });

  it('that failed is told, so that another worker takes its place', async () => {
    const agent = await withJob();
    agent.say({
      case: 'updateJob',
      value: { jobId: 'AJ_1', status: JobStatus.JS_FAILED, error: 'no voice' },
    });
    expect(await rig.heardBy('w-1', 'failed')).toEqual({ type: 'failed', message: 'no voice' });
    expect(rig.typesOf('w-1')).not.toContain('closed');
  });

  it('of somebody else is not ended', async () => {
    const agent = await withJob();
    agent.say({ case: 'updateJob', value: { jobId: 'AJ_2', status: JobStatus.JS_SUCCESS } });
    agent.say({ case: 'ping', value: {} });
    await agent.said('pong');
    expect(rig.typesOf('w-1')).not.toContain('closed');
  });

  it('that was not taken yet is withdrawn', async () => {
    const agent = await rig.registered();
    rig.standIn.assign(W1, jobOf());
    await agent.said('availability');
    expect(rig.standIn.terminate(W1)).toBe(true);
    expect(await rig.heardBy('w-1', 'closed')).toEqual({ type: 'closed' });
    agent.answer('AJ_1');
    agent.say({ case: 'ping', value: {} });
    await agent.said('pong');
    expect(agent.count('assignment')).toBe(0);
  });
});

describe('the end of a job that is told beside the connection', () => {
  const tell = async (body: string, token?: string) =>
    fetch(`${rig.standIn.url.replace('ws', 'http')}/curfew/job`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token ?? (await rig.token('w-1'))}` },
      body,
    });

  it('is heard once, from the worker itself', async () => {
    await withJob();
    const body = JSON.stringify({ jobId: 'AJ_1', status: 'JS_FAILED', error: 'no voice' });
    expect((await tell(body, await rig.token('w-1', { apiSecret: 'x'.repeat(40) }))).status).toBe(401);
    expect((await tell(body, await rig.token('w-2'))).status).toBe(503);
    await rig.registered('w-2');
    expect((await tell(body, await rig.token('w-2'))).status).toBe(204);
    expect((await tell('nonsense')).status).toBe(400);
    expect((await tell('x'.repeat(1024 * 1024)).catch(() => null))?.status ?? 400).toBe(400);
    expect(rig.typesOf('w-1')).not.toContain('failed');
    for (let count = 0; count < 2; count += 1) expect((await tell(body)).status).toBe(204);
    expect(rig.typesOf('w-1').filter((type) => type === 'failed')).toHaveLength(1);
  });
});

describe('a framework', () => {
  it('that is too old is named in the log, once', async () => {
    const agent = await rig.agent();
    await agent.opened();
    agent.register('0.12.1');
    await agent.said('register');
    expect(rig.logged).toContainEqual({
      fields: { worker: 'w-1', framework: '0.12.1' },
      message: expect.stringContaining('Python 1.8.9 and JavaScript 1.9.0'),
    });
  });
});

describe('heartbeats', () => {
  it('that come in a flood are few', async () => {
    const agent = await rig.registered();
    for (let count = 0; count < 1000; count += 1) agent.say({ case: 'updateWorker', value: { load: 0.5 } });
    agent.say({ case: 'ping', value: {} });
    await agent.said('pong');
    const few = rig.typesOf('w-1').filter((type) => type === 'heartbeat').length;
    expect(few).toBeGreaterThan(0);
    expect(few).toBeLessThan(100);
  });
});

describe('a worker that connects again', () => {
  it('takes the place of its older connection, silently', async () => {
    const older = await withJob();
    const newer = await rig.registered();
    await older.closed();
    expect(rig.typesOf('w-1')).not.toContain('gone');
    older.socket.terminate();
    expect(rig.standIn.terminate(W1)).toBe(true);
    await newer.said('termination');
    newer.socket.terminate();
    await until('its end is told', () => rig.heardOf('w-1').includes('gone'));
  });

  it('is asked again what it had not answered', async () => {
    const first = await rig.registered();
    rig.standIn.assign(W1, jobOf());
    await first.said('availability');
    first.socket.terminate();
    await until('its end is told', () => rig.heardOf('w-1').includes('gone'));
    const second = await rig.registered();
    await second.said('availability');
    second.answer('AJ_1');
    await second.said('assignment');
  });

  it('says to a new supervisor which job it runs, which can be ended', async () => {
    await withJob();
    await rig.restart();
    rmSync(join(rig.instance.workersDir, 'w-1', 'job'));
    const agent = await rig.registered();
    agent.say({ case: 'migrateJob', value: { jobIds: ['AJ_1'] } });
    await rig.heardBy('w-1', 'heartbeat');
    rig.standIn.assign(W1, jobOf());
    await until('ready is told', () => rig.typesOf('w-1').filter((type) => type === 'ready').length === 2);
    expect(agent.count('availability')).toBe(0);
    rig.standIn.terminate(W1);
    expect(await agent.said('termination')).toMatchObject({ jobId: 'AJ_1' });
  });

  it('is not taken for ready for another job than the one it runs', async () => {
    await withJob();
    await rig.restart();
    const agent = await rig.registered();
    expect(rig.standIn.assign(W1, jobOf({ id: 'AJ_2' }))).toBe(false);
    rig.standIn.terminate(W1);
    expect(await agent.said('termination')).toMatchObject({ jobId: 'AJ_1' });
    expect(rig.typesOf('w-1').filter((type) => type === 'ready')).toHaveLength(1);
  });

  it('need not say it', async () => {
    await withJob();
    await rig.restart();
    const agent = await rig.registered();
    rig.standIn.terminate(W1);
    expect(await agent.said('termination')).toMatchObject({ jobId: 'AJ_1' });
  });
});

async function withJob() {
  const agent = await rig.registered();
  rig.standIn.assign(W1, jobOf());
  await agent.said('availability');
  agent.answer('AJ_1');
  await rig.heardBy('w-1', 'ready');
  return agent;
}
