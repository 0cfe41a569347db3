/** What becomes of offers, assignments, terminations, reports and the load, towards a server that does as it likes. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Job, JobAnswer } from '../../../src/ports/jobs.ts';
import { until } from '../../support/lib/wait.ts';
import { FakeServer, offerOf } from './fake-livekit.ts';
import type { AdapterOptions } from './jobs-rig.ts';
import { Adapters, accept, alarms, fastClock, refuse } from './jobs-rig.ts';

const adapters = new Adapters();
const servers: FakeServer[] = [];

afterEach(async () => {
  await adapters.close();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function open(more: Partial<AdapterOptions> = {}) {
  const server = await FakeServer.start();
  servers.push(server);
  const adapter = adapters.open({ url: server.url, ...more });
  await until('it is registered', () => adapter.isRegistered());
  const answers = () => server.last.said('availability');
  return { server, adapter, answers };
}

const assignmentOf = (id: string, more: object = {}) => ({
  assignment: { job: { id }, token: 'T', ...more },
});

describe('an offer', () => {
  it('comes over a connection of its own, with a token of its own', async () => {
    const { server } = await open();
    const { authorization, path } = server.last;
    expect(path).toBe('/agent');
    const [, claims = ''] = authorization.replace('Bearer ', '').split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({ video: { agent: true } });
  });

  it('is told whole, whatever fields are missing or new', async () => {
    const { server, adapter } = await open({ names: ['n'] });
    const room = { name: 'r', sid: 'RM_1', metadata: 'of the room', enabledCodecs: [{ mime: 'x' }] };
    const job = {
      id: 'AJ_2',
      type: 'JT_ROOM',
      room,
      metadata: 'm',
      attributes: { k: 'v' },
      state: {},
      newer: [1],
    };
    server.last.send(offerOf('AJ_1'), { availability: { job, resuming: true, newer: 1 } });
    await until('both are told', () => adapter.offers.length === 2);
    const bare = { name: 'r', sid: 'RM_1', metadata: '' };
    expect(adapter.offers).toEqual([
      { id: 'AJ_1', agentName: 'n', room: bare, metadata: '', attributes: {} },
      {
        id: 'AJ_2',
        agentName: 'n',
        room: { name: 'r', sid: 'RM_1', metadata: 'of the room' },
        metadata: 'm',
        attributes: { k: 'v' },
      },
    ]);
  });

  it('that is accepted says under which identity', async () => {
    const { server, answers } = await open();
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([
      { jobId: 'AJ_1', available: true, participantIdentity: 'agent-AJ_1', participantName: 'Agent' },
    ]);
  });

  it.each([['JT_PUBLISHER'], ['JT_PARTICIPANT'], [7]])('of type %s is refused with a line', async (type) => {
    const { server, adapter, answers } = await open();
    server.last.send(offerOf('AJ_1', { type }));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([{ jobId: 'AJ_1', available: false }]);
    expect(adapter.offers).toEqual([]);
    expect(adapter.complaints()).toEqual(['a job was refused: only jobs for a room are taken']);
  });

  it('that nobody decides in time is refused, and a later yes is taken back', async () => {
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const offered = () => promise;
    const { server, adapter, answers } = await open({ offered, clock: fastClock(10) });
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.last.send(offerOf('AJ_1'));
    await until('it is answered again', () => answers().length > 1);
    expect(answers()).toEqual([
      { jobId: 'AJ_1', available: false },
      { jobId: 'AJ_1', available: false },
    ]);
    expect(adapter.offers.length).toBe(1);
    expect(adapter.complaints()).toEqual(['a job was refused: the decision took too long']);
    resolve({ accepted: true, identity: 'x', name: '' });
    await until('the yes is taken back', () => adapter.withdrawn.length > 0);
    expect(adapter).toMatchObject({ withdrawn: ['AJ_1 late'], terminated: [] });
  });

  it('whose decision throws is refused', async () => {
    const { server, adapter, answers } = await open({
      offered: () => Promise.reject(new TypeError('room r')),
    });
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([{ jobId: 'AJ_1', available: false }]);
    expect(adapter.lines).toContainEqual({
      level: 'error',
      fields: { job: 'AJ_1', agent: 'a', why: 'TypeError' },
      message: 'a job was refused: the decision failed',
    });
  });

  it('that comes again while it is decided, or after a yes, is asked once', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const offered = (job: Job) => promise.then(() => accept(job));
    const { server, adapter, answers } = await open({ offered });
    server.last.send(offerOf('AJ_1'), offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    resolve();
    await until('both are answered', () => answers().length === 2);
    server.last.send(offerOf('AJ_1'));
    await until('the third is answered', () => answers().length === 3);
    expect(new Set(answers().map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(adapter.offers.length).toBe(1);
  });

  it('that was accepted and is not assigned in time stays accepted: its call has begun', async () => {
    const { server, adapter, answers } = await open({ clock: fastClock(20) });
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    const saysSo = () => adapter.lines.some((one) => one.message === 'an accepted job was never assigned');
    await until('it is noticed', saysSo);
    server.last.send(assignmentOf('AJ_1'));
    await until('the late assignment counts', () => adapter.assigned.length > 0);
    expect(adapter).toMatchObject({ terminated: [], withdrawn: [] });
    expect(adapter.complaints()).toEqual([]);
  });

  it('whose yes cannot be said is taken back at once', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const clock = fastClock(1);
    const { server, adapter } = await open({ offered: (job) => promise.then(() => accept(job)), clock });
    server.last.send(offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    server.last.drop();
    await until('it knows', () => adapter.complaints().length > 0);
    resolve();
    await until('the yes is taken back', () => adapter.withdrawn.length > 0, 5_000);
    expect(adapter).toMatchObject({ withdrawn: ['AJ_1 unsent'], terminated: [] });
  });

  it('whose job is over is a new one', async () => {
    const { server, adapter, answers } = await open();
    for (let time = 1; time <= 2; time += 1) {
      server.last.send(offerOf('AJ_1'));
      await until('it is answered', () => answers().length === time);
      server.last.send(assignmentOf('AJ_1'));
      await until('it is assigned', () => adapter.assigned.length === time);
      adapter.jobs.report('AJ_1', 'success', null);
    }
    expect(adapter.offers.length).toBe(2);
  });

  it('is not decided any more once it is closed', async () => {
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const clock = alarms(fastClock(1));
    const { server, adapter } = await open({ offered: () => promise, clock });
    server.last.send(offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    await adapter.jobs.close();
    resolve({ accepted: true, identity: 'x', name: '' });
    await promise;
    expect(clock.open()).toBe(0);
    expect(adapter.withdrawn).toEqual([]);
  });

  it('that was refused may come again', async () => {
    const { server, adapter, answers } = await open({ offered: refuse });
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length === 1);
    server.last.send(offerOf('AJ_1'));
    await until('it is answered again', () => answers().length === 2);
    expect(adapter.offers.length).toBe(2);
  });
});

describe('an assignment', () => {
  it('is told once, and only for what was accepted', async () => {
    const { server, adapter, answers } = await open();
    server.api = () => ({ agentDispatches: [] });
    server.last.send(assignmentOf('AJ_0'), offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.last.send(assignmentOf('AJ_1', { url: 'wss://other' }), assignmentOf('AJ_1'), {
      termination: { jobId: 'AJ_1' },
    });
    await until('its end is told', () => adapter.terminated.length > 0);
    expect(adapter.assigned).toEqual(['AJ_1']);
    expect(adapter.complaints()).toEqual(['LiveKit assigned a job that was not accepted']);
  });

  it.each([
    ['is there still', { agentDispatches: [{ id: 'AD_1' }] }, 'left the room or joined it anew'],
    ['is not told', null, 'did not tell whether its dispatch was deleted'],
  ])('whose dispatch %s when LiveKit ends it goes on', async (_what, known, said) => {
    const { server, adapter, answers } = await open();
    if (known !== null) server.api = () => known;
    server.last.send(offerOf('AJ_1', { dispatchId: 'AD_1' }));
    await until('it is answered', () => answers().length > 0);
    server.last.send(assignmentOf('AJ_1'), { termination: { jobId: 'AJ_1' } });
    await until('it is said', () => adapter.lines.some((one) => one.message.includes(said)));
    expect(adapter).toMatchObject({ assigned: ['AJ_1'], terminated: [] });
    expect(adapter.complaints()).toEqual([]);
  });

  it('is reported over its connection, and over the next one when that is gone', async () => {
    const { server, adapter, answers } = await open({ clock: fastClock(10) });
    server.last.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.last.send(assignmentOf('AJ_1'));
    await until('it is assigned', () => adapter.assigned.length > 0);
    const first = server.last;
    adapter.jobs.report('AJ_1', 'running', null);
    await until('it is reported', () => first.said('updateJob').length > 0);
    first.drop();
    await until('it is registered anew', () => server.peers.length === 2 && adapter.isRegistered());
    adapter.jobs.report('AJ_1', 'failed', 'it crashed');
    await until('it is reported', () => server.last.said('updateJob').length > 0);
    expect([...first.said('updateJob'), ...server.last.said('updateJob')]).toEqual([
      { jobId: 'AJ_1', status: 'JS_RUNNING', error: '' },
      { jobId: 'AJ_1', status: 'JS_FAILED', error: 'it crashed' },
    ]);
  });

  it('of nobody knows which job is not reported', async () => {
    const { server, adapter } = await open();
    adapter.jobs.report('AJ_9', 'success', null);
    expect(adapter.lines.at(-1)).toMatchObject({ level: 'debug', message: 'a job could not be reported' });
    expect(server.last.said('updateJob')).toEqual([]);
  });
});

describe('the load', () => {
  it('is told at first, at changes, and the last value always', async () => {
    const { server, adapter } = await open({ names: ['a', 'b'] });
    const of = (name: string) =>
      server.peers.find((peer) => peer.said('register')[0]?.agentName === name)?.said('updateWorker') ?? [];
    await until('it is told', () => of('a').length === 1 && of('b').length === 1);
    expect(of('a')).toEqual([{ status: 'WS_AVAILABLE', load: 0, jobCount: 0 }]);
    for (let times = 0; times < 2; times += 1) adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 50 });
    await until('the change is told', () => of('a').at(-1)?.jobCount === 50);
    expect(of('a').slice(1)).toEqual([{ status: 'WS_FULL', load: 0.69, jobCount: 50 }]);
    adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 50 });
    adapter.jobs.setLoad('a', { load: 0.5, full: false, jobs: 25 });
    await until('a free place is told', () => of('a').at(-1)?.status === 'WS_AVAILABLE');
    expect(of('b').length).toBe(1);
  });

  it('is told first after a reconnection', async () => {
    const { server, adapter } = await open({ clock: fastClock(10) });
    adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 4 });
    server.last.drop();
    await until('it is told', () => server.peers.length === 2 && server.last.said('updateWorker').length > 0);
    expect(server.last.said('updateWorker')[0]).toMatchObject({ status: 'WS_FULL', jobCount: 4 });
  });
});
