/** Lines of curfew in a worker's log: an agent with less access than its profile grants, and refused API calls. */
import { JobType } from '@livekit/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { STAND_IN } from '../../../src/lib/limits/livekit-limits.ts';
import { until } from '../../support/lib/wait.ts';
import { jobOf, StandInRig } from '../../support/livekit/standin-rig.ts';

let rig: StandInRig;
beforeEach(async () => {
  rig = await new StandInRig().listen();
});
afterEach(() => rig.close());

describe('an agent without the launcher', () => {
  const told = () => rig.notes.filter(({ line }) => line.includes('framework_unknown'));

  it("is named once in its own log and once in curfew's, with the reason", async () => {
    rig.access = 'full';
    const first = await rig.registered('w-1');
    first.socket.terminate();
    await rig.registered('w-1');
    expect(told()).toEqual([{ worker: 'w-1', line: expect.stringContaining('launcher is not loaded') }]);
    const logged = rig.logged.filter(
      ({ fields }) => 'event' in fields && fields.event === 'framework_unknown',
    );
    expect(logged).toHaveLength(1);
  });

  it("has the launcher's words in its own log alone, because the agent's process writes them", async () => {
    rig.access = 'full';
    await rig.registered('w-1', { launcher: 'room', why: '+4917012345' });
    expect(told()).toEqual([{ worker: 'w-1', line: expect.stringContaining('+4917012345') }]);
    const logged = JSON.stringify(rig.logged);
    expect([logged.includes('framework_unknown'), logged.includes('4917')]).toEqual([true, false]);
  });

  it('is named again by the next supervisor, and gets no more than before', async () => {
    rig.access = 'full';
    await rig.registered('w-1');
    await rig.restart();
    const agent = await rig.registered('w-1');
    expect(told()).toHaveLength(2);
    rig.assign(workerId('w-1'), jobOf());
    await agent.receives('availability');
    agent.answer('AJ_1');
    await until('the answer is there', () => rig.answers.length === 1);
    expect(rig.answers).toMatchObject([{ answer: { agentGrant: false } }]);
  });

  it('is not named where the profile grants the room alone', async () => {
    await rig.registered('w-1');
    expect(told()).toEqual([]);
  });
});

describe('an agent with another name than its profile', () => {
  const registers = async (worker: string, name: string) => {
    const agent = await rig.agent(worker);
    await agent.opened();
    agent.register('9.9.9', name);
    await agent.receives('register');
  };
  const said = () => rig.logged.filter(({ message }) => message.includes('another name'));

  it("has both names in its own log, and curfew's log has the profile's name once", async () => {
    rig.agentName = 'greeter';
    for (const worker of ['w-1', 'w-1', 'w-2']) await registers(worker, 'voice-4917');
    const line = expect.stringMatching(/registers as "voice-4917".*agent_name of its profile is "greeter"/);
    expect(rig.notes).toEqual([
      { worker: 'w-1', line },
      { worker: 'w-2', line },
    ]);
    expect(said()).toMatchObject([{ fields: { worker: 'w-1', agentName: 'greeter' } }]);
    expect(JSON.stringify(rig.logged)).not.toContain('4917');
  });

  it('is not named where the names are the same, or one of them is missing', async () => {
    await registers('w-1', 'voice');
    rig.agentName = 'greeter';
    await registers('w-1', '');
    await registers('w-2', 'greeter');
    expect([rig.notes, said()]).toEqual([[], []]);
  });
});

it('one line in its log says what an agent gets that registers for jobs of participants', async () => {
  for (const type of [JobType.JT_PUBLISHER, JobType.JT_PUBLISHER, JobType.JT_ROOM]) {
    const agent = await rig.agent('w-1');
    await agent.opened();
    agent.register('9.9.9', '', type);
    await agent.receives('register');
  }
  const line = expect.stringMatching(/type JT_PUBLISHER: curfew gives it one job for its room/);
  expect(rig.notes).toEqual([{ worker: 'w-1', line }]);
});

describe('a refused API call', () => {
  it('is a line with the method and the key to set, and a loop of them does not flood the log', async () => {
    const url = `${rig.standIn.url.replace('ws', 'http')}/twirp/livekit.Egress/StartRoomCompositeEgress`;
    const headers = { authorization: `Bearer ${await rig.token('w-1')}`, 'content-type': 'application/json' };
    for (let call = 0; call < STAND_IN.notes + 30; call += 1)
      expect((await fetch(url, { method: 'POST', headers, body: '{}' })).status).toBe(403);
    expect(rig.notes).toHaveLength(STAND_IN.notes);
    const { worker, line } = rig.notes[0] ?? {};
    expect(worker).toBe('w-1');
    expect(line).toMatch(/Egress\.StartRoomCompositeEgress.*livekit_access: full/);
  });
});

describe('a token of the agent for a second participant', () => {
  const joins = async (name: string, path: string) => {
    const url = rig.standIn.url.replace('ws', 'http');
    const token = await rig.token(name, { agent: false });
    const headers = { authorization: `Bearer ${token}` };
    return path.includes('?') ? fetch(`${url}${path}${token}`) : fetch(`${url}${path}`, { headers });
  };
  const told = () => rig.notes.filter(({ line }) => line.includes('join'));

  it("is refused with the key to set, and the worker's log has one line for each attempt", async () => {
    const answers = [
      await joins('w-1', '/rtc/v1/validate'),
      await joins('w-1', '/rtc/validate?access_token='),
    ];
    for (const one of answers) {
      expect(one.status).toBe(404);
      expect(await one.text()).toContain('livekit_access: full');
    }
    const line = expect.stringMatching(/the join of a participant.*livekit_access: full/);
    expect(told()).toEqual([
      { worker: 'w-1', line },
      { worker: 'w-1', line },
    ]);
  });

  it('has no line where no worker signed the token', async () => {
    const url = rig.standIn.url.replace('ws', 'http');
    const token = await rig.token('w-1', { apiSecret: 'another-secret' });
    expect((await fetch(`${url}/rtc?access_token=${token}`)).status).toBe(404);
    expect(told()).toEqual([]);
  });

  it('is refused over a WebSocket, too', async () => {
    const socket = new WebSocket(`${rig.standIn.url}/rtc?access_token=${await rig.token('w-1')}`);
    await new Promise((resolve) => socket.addEventListener('error', resolve));
    await until('the line is there', () => told().length === 1);
  });
});
