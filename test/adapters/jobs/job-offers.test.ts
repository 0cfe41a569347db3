/** Offers, assignments, terminations, reports and the load, with a server that can send anything at any time. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Job, JobAnswer } from '../../../src/ports/jobs.ts';
import { until } from '../../support/lib/wait.ts';
import type { Peer } from './fake-livekit.ts';
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
  const answers = () => server.latest.framesOf('availability');
  return { server, adapter, answers };
}

const assignmentOf = (id: string, more: object = {}) => ({
  assignment: { job: { id }, token: 'T', ...more },
});

describe('a job offer', () => {
  it('arrives over the agent path, opened with a token that holds only the agent grant', async () => {
    const { server } = await open();
    const { authorization, path } = server.latest;
    expect(path).toBe('/agent');
    const [, claims = ''] = authorization.replace('Bearer ', '').split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({ video: { agent: true } });
  });

  it('reaches the listener whole, also with missing or new fields', async () => {
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
    server.latest.send(offerOf('AJ_1'), { availability: { job, resuming: true, newer: 1 } });
    await until('the listener has both', () => adapter.offers.length === 2);
    const bare = { name: 'r', sid: 'RM_1', metadata: '' };
    expect(adapter.offers).toEqual([
      {
        id: 'AJ_1',
        agentName: 'n',
        room: bare,
        metadata: '',
        attributes: {},
        message: { room: { name: 'r', sid: 'RM_1' } },
      },
      {
        id: 'AJ_2',
        agentName: 'n',
        room: { name: 'r', sid: 'RM_1', metadata: 'of the room' },
        metadata: 'm',
        attributes: { k: 'v' },
        message: { type: 'JT_ROOM', room, state: {}, newer: [1] },
      },
    ]);
  });

  it('keeps the rest of a message whose room is too large to keep', async () => {
    const { server, adapter } = await open({ names: ['n'] });
    const room = { name: 'r', sid: 'RM_1', metadata: 'x'.repeat(70_000) };
    server.latest.send(offerOf('AJ_1', { room, dispatchId: 'AD_1' }));
    await until('the listener has it', () => adapter.offers.length === 1);
    expect(adapter.offers[0]).toMatchObject({ room, message: { dispatchId: 'AD_1' } });
    expect(adapter.offers[0]?.message).not.toHaveProperty('room');
  });

  it('that is accepted is answered with the identity of our agent', async () => {
    const { server, answers } = await open();
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([
      { jobId: 'AJ_1', available: true, participantIdentity: 'agent-AJ_1', participantName: 'Agent' },
    ]);
  });

  it.each([['JT_PUBLISHER'], ['JT_PARTICIPANT'], [7]])('of type %s is refused and logged', async (type) => {
    const { server, adapter, answers } = await open();
    server.latest.send(offerOf('AJ_1', { type }));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([{ jobId: 'AJ_1', available: false }]);
    expect(adapter.offers).toEqual([]);
    expect(adapter.complaints()).toEqual(['a job was refused: curfew takes only jobs for a room']);
  });

  it('without a decision in time is refused, and a later yes is withdrawn', async () => {
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const offered = () => promise;
    const { server, adapter, answers } = await open({ offered, clock: fastClock(10) });
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered again', () => answers().length > 1);
    expect(answers()).toEqual([
      { jobId: 'AJ_1', available: false },
      { jobId: 'AJ_1', available: false },
    ]);
    expect(adapter.offers.length).toBe(1);
    expect(adapter.complaints()).toEqual([
      expect.stringMatching(/^a job was refused: the decision took too long;/),
    ]);
    resolve({ accepted: true, identity: 'x', name: '' });
    await until('the yes is withdrawn', () => adapter.withdrawn.length > 0);
    expect(adapter).toMatchObject({ withdrawn: ['AJ_1 late'], terminated: [] });
  });

  it('is refused when its decision throws', async () => {
    const { server, adapter, answers } = await open({
      offered: () => Promise.reject(new TypeError('room r')),
    });
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    expect(answers()).toEqual([{ jobId: 'AJ_1', available: false }]);
    expect(adapter.lines).toContainEqual({
      level: 'error',
      fields: { job: 'AJ_1', agent: 'a', why: 'TypeError' },
      message: 'a job was refused: the decision failed',
    });
  });

  it('that repeats during its decision or after a yes is decided once', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const offered = (job: Job) => promise.then(() => accept(job));
    const { server, adapter, answers } = await open({ offered });
    server.latest.send(offerOf('AJ_1'), offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    resolve();
    await until('both are answered', () => answers().length === 2);
    server.latest.send(offerOf('AJ_1'));
    await until('the third is answered', () => answers().length === 3);
    expect(new Set(answers().map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(adapter.offers.length).toBe(1);
  });

  it('that was accepted but not assigned in time stays accepted, because its call has begun', async () => {
    const { server, adapter, answers } = await open({ clock: fastClock(20) });
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    const isLogged = () =>
      adapter.lines.some((one) => one.message.includes('did not assign an accepted job in time'));
    await until('the missing assignment is logged', isLogged);
    server.latest.send(assignmentOf('AJ_1'));
    await until('the late assignment counts', () => adapter.assigned.length > 0);
    expect(adapter).toMatchObject({ terminated: [], withdrawn: [] });
    expect(adapter.complaints()).toEqual([]);
  });

  it('is withdrawn at once when its yes cannot be sent', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const clock = fastClock(1);
    const { server, adapter } = await open({ offered: (job) => promise.then(() => accept(job)), clock });
    server.latest.send(offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    server.latest.drop();
    await until('the drop is logged', () => adapter.complaints().length > 0);
    resolve();
    await until('the yes is withdrawn', () => adapter.withdrawn.length > 0, 5_000);
    expect(adapter).toMatchObject({ withdrawn: ['AJ_1 unsent'], terminated: [] });
  });

  it('of a job that has ended counts as a new offer', async () => {
    const { server, adapter, answers } = await open();
    for (let time = 1; time <= 2; time += 1) {
      server.latest.send(offerOf('AJ_1'));
      await until('it is answered', () => answers().length === time);
      server.latest.send(assignmentOf('AJ_1'));
      await until('it is assigned', () => adapter.assigned.length === time);
      adapter.jobs.report('AJ_1', 'success', null);
    }
    expect(adapter.offers.length).toBe(2);
  });

  it('is dropped when the adapter closes during its decision', async () => {
    const { promise, resolve } = Promise.withResolvers<JobAnswer>();
    const clock = alarms(fastClock(1));
    const { server, adapter } = await open({ offered: () => promise, clock });
    server.latest.send(offerOf('AJ_1'));
    await until('it is asked', () => adapter.offers.length > 0);
    await adapter.jobs.close();
    resolve({ accepted: true, identity: 'x', name: '' });
    await promise;
    expect(clock.open()).toBe(0);
    expect(adapter.withdrawn).toEqual([]);
  });

  it('that was refused can arrive again', async () => {
    const { server, adapter, answers } = await open({ offered: refuse });
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length === 1);
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered again', () => answers().length === 2);
    expect(adapter.offers.length).toBe(2);
  });
});

describe('a job assignment', () => {
  it('reaches the listener once, and only for an accepted job', async () => {
    const { server, adapter, answers } = await open();
    server.api = () => ({ agent_dispatches: [] });
    server.latest.send(assignmentOf('AJ_0'), offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.latest.send(assignmentOf('AJ_1', { url: 'wss://other' }), assignmentOf('AJ_1'), {
      termination: { jobId: 'AJ_1' },
    });
    await until('its end reaches the listener', () => adapter.terminated.length > 0);
    expect(adapter.assigned).toEqual(['AJ_1']);
    expect(adapter.complaints()).toEqual(['LiveKit assigned a job that was not accepted']);
  });

  it.each([
    ['still exists', { agent_dispatches: [{ id: 'AD_1' }] }, 'left or rejoined the room'],
    [
      'stands in an answer of another form',
      { dispatches: [] },
      'did not answer whether its dispatch was deleted',
    ],
    ['is unknown', null, 'did not answer whether its dispatch was deleted'],
  ])('survives a termination while its dispatch %s', async (_what, known, logged) => {
    const { server, adapter, answers } = await open();
    if (known !== null) server.api = () => known;
    server.latest.send(offerOf('AJ_1', { dispatchId: 'AD_1' }));
    await until('it is answered', () => answers().length > 0);
    server.latest.send(assignmentOf('AJ_1'), { termination: { jobId: 'AJ_1' } });
    await until('it is logged', () => adapter.lines.some((one) => one.message.includes(logged)));
    expect(adapter).toMatchObject({ assigned: ['AJ_1'], terminated: [] });
    expect(adapter.complaints()).toEqual([]);
  });

  it('is reported over its own connection, and over the next one after a drop', async () => {
    const { server, adapter, answers } = await open({ clock: fastClock(10) });
    server.latest.send(offerOf('AJ_1'));
    await until('it is answered', () => answers().length > 0);
    server.latest.send(assignmentOf('AJ_1'));
    await until('it is assigned', () => adapter.assigned.length > 0);
    const first = server.latest;
    adapter.jobs.report('AJ_1', 'running', null);
    await until('it is reported', () => first.framesOf('updateJob').length > 0);
    first.drop();
    await until('it is registered again', () => server.peers.length === 2 && adapter.isRegistered());
    adapter.jobs.report('AJ_1', 'failed', 'it crashed');
    await until('it is reported', () => server.latest.framesOf('updateJob').length > 0);
    expect([...first.framesOf('updateJob'), ...server.latest.framesOf('updateJob')]).toEqual([
      { jobId: 'AJ_1', status: 'JS_RUNNING', error: '' },
      { jobId: 'AJ_1', status: 'JS_FAILED', error: 'it crashed' },
    ]);
  });

  it('of an unknown job is not reported, which is logged', async () => {
    const { server, adapter } = await open();
    adapter.jobs.report('AJ_9', 'success', null);
    const line = adapter.lines.find(
      (one) => one.message === 'the status of a job could not be sent to LiveKit',
    );
    expect(line).toMatchObject({ level: 'debug' });
    expect(server.latest.framesOf('updateJob')).toEqual([]);
  });
});

describe('the load of an agent', () => {
  it('is reported first, then on each change, and the last value always arrives', async () => {
    const { server, adapter } = await open({ names: ['a', 'b'] });
    const registers = (peer: Peer, name: string) =>
      peer.framesOf('register').some((one) => one.agentName === name);
    const reported = (name: string) =>
      server.peers.find((peer) => registers(peer, name))?.framesOf('updateWorker') ?? [];
    const latest = (name: string) => reported(name).at(-1);
    await until('both loads are reported', () => reported('a').length === 1 && reported('b').length === 1);
    expect(reported('a')).toEqual([{ status: 'WS_AVAILABLE', load: 0, jobCount: 0 }]);
    for (let times = 0; times < 2; times += 1) adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 50 });
    await until('the change is reported', () => latest('a')?.jobCount === 50);
    const [, ...changes] = reported('a');
    expect(changes).toEqual([{ status: 'WS_FULL', load: 0.69, jobCount: 50 }]);
    adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 50 });
    adapter.jobs.setLoad('a', { load: 0.5, full: false, jobs: 25 });
    await until('a free slot is reported', () => latest('a')?.status === 'WS_AVAILABLE');
    expect(reported('b').length).toBe(1);
  });

  it('is the first report after a reconnection', async () => {
    const { server, adapter } = await open({ clock: fastClock(10) });
    adapter.jobs.setLoad('a', { load: 1, full: true, jobs: 4 });
    server.latest.drop();
    await until(
      'it is reported',
      () => server.peers.length === 2 && server.latest.framesOf('updateWorker').length > 0,
    );
    const [firstReport] = server.latest.framesOf('updateWorker');
    expect(firstReport).toMatchObject({ status: 'WS_FULL', jobCount: 4 });
  });
});
