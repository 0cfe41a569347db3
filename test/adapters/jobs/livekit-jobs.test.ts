/** The Jobs port on a real LiveKit server. */
import { RoomConfiguration } from '@livekit/protocol';
import { AccessToken } from 'livekit-server-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Callers } from '../../support/callers/callers.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import type { Adapter, AdapterOptions } from './jobs-rig.ts';
import { Adapters, refuse } from './jobs-rig.ts';

describe.runIf(HAS_LIVEKIT)('a registration at a real LiveKit server', () => {
  let livekit: LiveKit;
  let callers: Callers;
  const adapters = new Adapters();

  beforeAll(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
  });

  afterEach(() => adapters.close());

  afterAll(async () => {
    callers?.kill();
    await livekit?.close();
  });

  const open = async (more: Partial<AdapterOptions> = {}) => {
    const adapter = adapters.open({ url: livekit.url, ...more });
    await until('it is registered', () => adapter.isRegistered());
    return adapter;
  };
  const firstJob = async (adapter: Adapter) => {
    await until('a job is assigned', () => adapter.assigned.length > 0);
    const [job] = adapter.assigned;
    if (job === undefined) throw new Error('no job');
    return job;
  };

  it('receives the job of a dispatch and accepts it', async () => {
    const adapter = await open({ names: ['greeter'] });
    await livekit.dispatches.createDispatch('hall', 'greeter', { metadata: '{"user":"u1"}' });
    const id = await firstJob(adapter);
    expect(adapter.offers).toEqual([
      {
        id,
        agentName: 'greeter',
        room: { name: 'hall', sid: expect.stringMatching(/^RM_/), metadata: '' },
        metadata: '{"user":"u1"}',
        attributes: {},
        message: expect.objectContaining({ dispatchId: expect.stringMatching(/^AD_/) }),
      },
    ]);
    expect(adapter.complaints()).toEqual([]);
  });

  it('receives the job that a caller requests in the token', async () => {
    const adapter = await open({ names: ['brought'] });
    const token = new AccessToken(KEY, SECRET, { identity: 'ann', ttl: 60 });
    token.addGrant({ room: 'brought', roomJoin: true });
    token.roomConfig = new RoomConfiguration({ agents: [{ agentName: 'brought', metadata: 'm' }] });
    await callers.joinWith('brought', 'ann', await token.toJwt());
    await firstJob(adapter);
    expect(adapter.offers).toMatchObject([
      { agentName: 'brought', room: { name: 'brought' }, metadata: 'm' },
    ]);
    await callers.leave('brought', 'ann');
  });

  it('that refuses a job leaves it to another registration', async () => {
    const busy = await open({ names: ['pair'], offered: refuse });
    const idle = await open({ names: ['pair'] });
    // LiveKit chooses at random which of the two it asks first.
    for (let call = 0; call < 20 && busy.offers.length === 0; call += 1) {
      await livekit.dispatches.createDispatch(`pair-${call}`, 'pair');
      await until('the idle one has it', () => idle.assigned.length === call + 1);
    }
    expect(busy.offers.length).toBe(1);
    expect(busy.assigned).toEqual([]);
    const [refusedOffer] = busy.offers;
    const passedOn = idle.offers.find((one) => one.room.name === refusedOffer?.room.name);
    expect(passedOn?.id).toBe(refusedOffer?.id);
  });

  it('serves several agent names, and other names after a change', async () => {
    const adapter = await open({ names: ['one', 'two'] });
    await livekit.dispatches.createDispatch('n1', 'one');
    await livekit.dispatches.createDispatch('n2', 'two');
    await until('both are assigned', () => adapter.assigned.length === 2);
    expect(new Map(adapter.offers.map((job) => [job.room.name, job.agentName]))).toEqual(
      new Map([
        ['n1', 'one'],
        ['n2', 'two'],
      ]),
    );
    adapter.jobs.setNames(['two', 'three']);
    await until('three is registered', () => adapter.isRegistered());
    expect(adapter.jobs.status().map((one) => one.agentName)).toEqual(['two', 'three']);
    await livekit.dispatches.createDispatch('n3', 'three');
    await until('a job for three', () => adapter.offers.some((job) => job.agentName === 'three'));
    await until('LiveKit logs that the name was deregistered', () =>
      /last worker deregistered.*"agentName": "one"/.test(livekit.log),
    );
  });

  it('under the empty name receives a job for every new room', async () => {
    const adapter = await open({ names: [''] });
    await callers.join('anybody', 'ann', { audio: false });
    await firstJob(adapter);
    expect(adapter.offers).toMatchObject([{ agentName: '', room: { name: 'anybody' } }]);
    await callers.leave('anybody', 'ann');
  });

  it('reports a termination when the dispatch is deleted', async () => {
    const adapter = await open({ names: ['ended'] });
    const dispatch = await livekit.dispatches.createDispatch('brief', 'ended');
    const jobId = await firstJob(adapter);
    await livekit.dispatches.deleteDispatch(dispatch.id, 'brief');
    await until('it is terminated', () => adapter.terminated.length > 0);
    expect(adapter.terminated).toEqual([jobId]);
  });

  it('reports success and failure of a job to LiveKit', async () => {
    const adapter = await open({ names: ['reports'] });
    for (const room of ['good', 'bad']) await livekit.dispatches.createDispatch(room, 'reports');
    await until('both are assigned', () => adapter.assigned.length === 2);
    const [good, bad] = adapter.assigned;
    adapter.jobs.report(good ?? '', 'running', null);
    adapter.jobs.report(good ?? '', 'success', null);
    adapter.jobs.report(bad ?? '', 'failed', 'its worker crashed');
    await until(
      'LiveKit has both',
      () => endOf(livekit, bad) !== undefined && endOf(livekit, good) !== undefined,
    );
    expect(endOf(livekit, good)).toContain('"status": "JS_SUCCESS"');
    expect(endOf(livekit, bad)).toContain('"status": "JS_FAILED", "error": "its worker crashed"');
  });

  it('receives jobs as long as it has a free slot', async () => {
    const adapter = adapters.open({ url: livekit.url, names: ['last-place'] });
    adapter.jobs.setLoad('last-place', { load: 1, full: false, jobs: 49 });
    await until('it is registered', () => adapter.isRegistered());
    await livekit.dispatches.createDispatch('last', 'last-place');
    await firstJob(adapter);
  });

  it('receives no job while full, and jobs again afterwards', async () => {
    const full = adapters.open({ url: livekit.url, names: ['load'] });
    // This load is the first report to LiveKit after the registration.
    full.jobs.setLoad('load', { load: 1, full: true, jobs: 3 });
    await until('it is registered', () => full.isRegistered());
    const free = await open({ names: ['load'] });
    for (let call = 1; call <= 6; call += 1) {
      await livekit.dispatches.createDispatch(`load-${call}`, 'load');
      await until('it is assigned', () => full.assigned.length + free.assigned.length === call);
    }
    expect(free.assigned.length).toBe(6);
    await free.jobs.close();
    full.jobs.setLoad('load', { load: 0, full: false, jobs: 0 });
    await until('it has a job', async () => {
      await livekit.dispatches.createDispatch('load-7', 'load');
      return full.assigned.length > 0;
    });
  });

  it('registers again after the server was killed, and receives jobs', async () => {
    const adapter = await open({ names: ['back'] });
    const statusOf = (name: string) => adapter.jobs.status().find((one) => one.agentName === name);
    await livekit.kill();
    await until('the loss is known', () => statusOf('back')?.state === 'connecting');
    await until('the status names the error', () => statusOf('back')?.error?.includes('ECONNREFUSED'));
    await livekit.boot();
    await until('it is registered again', () => adapter.isRegistered(), 20_000);
    expect(adapter.jobs.status()).toMatchObject([{ agentName: 'back', error: null }]);
    await livekit.dispatches.createDispatch('after', 'back');
    await firstJob(adapter);
  });
});

function endOf(livekit: LiveKit, jobId: string | undefined): string | undefined {
  return livekit.log.split('\n').find((line) => line.includes('job ended') && line.includes(`"${jobId}"`));
}
