/** Whole calls: a real LiveKit server, real participants, a real supervisor and real workers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const AGENT = { command: [process.execPath, join(ROOT, 'test/fixtures/agent.mjs')], protocol: 'curfew' };
/** Long enough for several attempts of a caller to join. */
const JOIN_AGAIN_MS = 120_000;
const SHORT = { callersLeftMs: 500, callersLostMs: 4000 };

describe.runIf(HAS_LIVEKIT)('whole calls', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;
  let rooms = 0;
  const newRoom = () => `room ${++rooms} ☎`;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    daemon = new Daemon({ config: {} });
    daemon = new Daemon({
      dir: daemon.dir,
      config: {
        ...livekit.config(daemon.socket),
        presence: { poll_interval: '1s' },
        limits: { sessions: 300, start_rate: '1000/s' },
        agents: {
          default: AGENT,
          quick: { ...AGENT, agent_absent: '1s', wrap_up: '0s', replace: false },
          once: { ...AGENT, replace: false },
          sleeper: { command: ['sleep', '1000'], start_timeout: '1h' },
          stubborn: {
            command: ['sh', join(ROOT, 'test/fixtures/workers/ignores-term.sh')],
            start_timeout: '1h',
          },
        },
      },
    });
    await daemon.start();
    callers = new Callers(livekit);
  });

  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const live = async (room: string, more: Record<string, unknown> = {}) => {
    const { body, status } = await daemon.dispatch({ room, limits: SHORT, ...more });
    expect(status, JSON.stringify(body)).toBe(201);
    await daemon.reaches(body.id, ['live']);
    return body.id;
  };
  const sees = (id: string, count: number) =>
    until(`${count} callers are seen`, async () => (await daemon.session(id)).presence?.callers === count);

  it('a call ends after its caller hung up, and its room can be used again', async () => {
    const room = newRoom();
    const id = await live(room);
    await callers.join(room, 'ann');
    await sees(id, 1);
    const environ = readFileSync(`/proc/${(await daemon.session(id)).pid}/environ`, 'utf8');
    expect(environ).toContain('LIVEKIT_TOKEN=');
    for (const text of [environ, daemon.stderr, JSON.stringify(await daemon.session(id))])
      expect(text).not.toContain(SECRET);
    expect(daemon.stderr).not.toContain(room);
    await callers.leave(room, 'ann');
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({ state: 'released', reason: 'callers_left', exit: { code: 0 } });
    expect(ended.evidence).toMatchObject({
      cause: 'participant_left',
      detail: expect.stringContaining('ann'),
    });
    expect(ended.evidence?.ladder.map((one) => [one.step, one.outcome])).toEqual([
      ['aclose', 'done'],
      ['disconnect', 'exited'],
      ['remove_agent', 'done'],
      ['close_room', 'done'],
    ]);
    expect(marked(daemon.instanceId()).filter((one) => one.worker.startsWith(id))).toEqual([]);
    const again = await live(room);
    await daemon.release(again);
    expect(await daemon.ended(again)).toMatchObject({ state: 'released', reason: 'requested' });
  });

  it('a session stays live while one of two callers stays', async () => {
    const room = newRoom();
    const id = await live(room);
    await callers.join(room, 'ann');
    await callers.join(room, 'bob');
    await sees(id, 2);
    await callers.leave(room, 'ann');
    await sees(id, 1);
    expect((await daemon.session(id)).deadlines.map((one) => one.kind)).not.toContain('callers_left');
    await callers.leave(room, 'bob');
    expect(await daemon.ended(id)).toMatchObject({ reason: 'callers_left' });
  });

  it('a session counts no hidden, recording or agent participant as a caller', async () => {
    const room = newRoom();
    const id = await live(room, { limits: { ...SHORT, noCallerMs: 3000 } });
    await callers.join(room, 'hidden', { grant: { hidden: true }, audio: false });
    await callers.join(room, 'recorder', { grant: { recorder: true }, audio: false });
    await callers.join(room, 'other agent', { kind: 'agent', audio: false });
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({ reason: 'no_caller_joined', presence: { callers: 0 } });
    await callers.leave(room, 'hidden');
  });

  it('a phone counts as a caller once it has picked up, and the session waits while it rings', async () => {
    const room = newRoom();
    const id = await live(room, { limits: { ...SHORT, noCallerMs: 15_000 } });
    await callers.join(room, 'sip_1', {
      kind: 'sip',
      attributes: { 'sip.callStatus': 'ringing' },
      grant: { canUpdateOwnMetadata: true },
    });
    await until('the phone rings', async () => (await daemon.session(id)).presence?.ringing === 1);
    await callers.setAttributes(room, 'sip_1', { 'sip.callStatus': 'active' });
    await sees(id, 1);
    await callers.leave(room, 'sip_1');
    expect(await daemon.ended(id)).toMatchObject({ reason: 'callers_left' });
  });

  it('a session ends as not_answered when its phone stops ringing and nobody picked up', async () => {
    const room = newRoom();
    const id = await live(room);
    await callers.join(room, 'sip_2', { kind: 'sip', attributes: { 'sip.callStatus': 'ringing' } });
    await until('the phone rings', async () => (await daemon.session(id)).presence?.ringing === 1);
    await callers.leave(room, 'sip_2');
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'not_answered' });
  });

  it('a room with two callers stays open after a release, until one caller is alone', async () => {
    const room = newRoom();
    const id = await live(room);
    await callers.join(room, 'ann');
    await callers.join(room, 'bob');
    await sees(id, 2);
    await daemon.release(id);
    const ended = await daemon.ended(id);
    expect(ended.evidence?.room).toMatchObject({ action: 'watch' });
    const there = (await livekit.rooms.listParticipants(room)).map((one) => one.identity).sort();
    expect(there).toEqual(['ann', 'bob']);
    await callers.leave(room, 'ann');
    await until(
      'the room is closed',
      async () => (await livekit.rooms.listRooms([room])).length === 0,
      40_000,
    );
  });

  it('the room of a lone phone is closed when its agent was killed and is not replaced', async () => {
    const room = newRoom();
    await callers.join(room, 'sip_3', { kind: 'sip' });
    const id = await live(room, { agent: 'once' });
    await sees(id, 1);
    process.kill((await daemon.session(id)).pid ?? 0, 'SIGKILL');
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({
      state: 'failed',
      reason: 'crashed',
      exit: { code: null, signal: 'SIGKILL' },
    });
    expect(ended.evidence?.room).toMatchObject({ action: 'close', why: 'its only caller is a phone' });
    expect(await livekit.rooms.listRooms([room])).toEqual([]);
  });

  it('an agent that was killed during its call is replaced in the same room and session', async () => {
    const room = newRoom();
    await callers.join(room, 'ann');
    const id = await live(room);
    await sees(id, 1);
    const agentIn = async () =>
      (await livekit.rooms.listParticipants(room)).find((one) => one.identity.startsWith('agent-')) ?? null;
    const agent = await until('the agent is there', agentIn);
    process.kill((await daemon.session(id)).pid ?? 0, 'SIGKILL');
    await until('another agent is there', async () => {
      const other = await agentIn();
      return other !== null && other.sid !== agent.sid;
    });
    expect(await daemon.session(id)).toMatchObject({ state: 'live', restarts: 1 });
    await daemon.release(id);
    await daemon.ended(id);
  });

  it('a session ends as agent_absent when LiveKit removed its agent from the room', async () => {
    const room = newRoom();
    const id = await live(room, { agent: 'quick' });
    await callers.join(room, 'ann');
    await sees(id, 1);
    const agent = await until('the agent is there', async () =>
      (await livekit.rooms.listParticipants(room)).find((one) => one.identity.startsWith('agent-')),
    );
    await livekit.rooms.removeParticipant(room, agent.identity);
    expect(await daemon.ended(id)).toMatchObject({ state: 'failed', reason: 'agent_absent' });
  });

  it('a session ends as completed when its agent leaves the room without a request', async () => {
    const room = newRoom();
    await callers.join(room, 'ann');
    const id = await live(room, { metadata: { mode: 'leaves' } });
    const ended = await daemon.ended(id);
    expect(ended).toMatchObject({ state: 'released', reason: 'completed' });
    expect((await livekit.rooms.listParticipants(room)).map((one) => one.identity)).toEqual(['ann']);
  });

  it('a session ends when its room is closed', async () => {
    const room = newRoom();
    const id = await live(room, { agent: 'sleeper' });
    await callers.join(room, 'ann');
    await sees(id, 1);
    await livekit.rooms.deleteRoom(room);
    expect(['room_finished', 'callers_left']).toContain((await daemon.ended(id)).reason);
  });

  it('a session goes on when a lost caller comes back, and ends when nobody comes back', async () => {
    const room = newRoom();
    const id = await live(room, { limits: { callersLeftMs: 500, callersLostMs: JOIN_AGAIN_MS } });
    const phone = new Callers(livekit);
    await phone.join(room, 'ann');
    await sees(id, 1);
    phone.kill();
    await until(
      'the session notices the loss',
      async () => (await daemon.session(id)).deadlines.some((one) => one.kind === 'callers_left'),
      40_000,
    );
    await callers.join(room, 'ann');
    await sees(id, 1);
    expect((await daemon.session(id)).state).toBe('live');
    await callers.leave(room, 'ann');
    expect(await daemon.ended(id)).toMatchObject({ reason: 'callers_left' });

    const other = newRoom();
    const lost = await live(other, { limits: { callersLeftMs: 500, callersLostMs: 1000 } });
    const second = new Callers(livekit);
    await second.join(other, 'eve');
    await sees(lost, 1);
    second.kill();
    expect(await daemon.ended(lost, 40_000)).toMatchObject({
      reason: 'callers_left',
      evidence: { detail: expect.stringContaining('lost the connection') },
    });
  });

  it('a redial during a teardown is accepted, and that teardown leaves the new session alone', async () => {
    const room = newRoom();
    const first = await live(room, { agent: 'stubborn' });
    await callers.join(room, 'ann');
    await sees(first, 1);
    // LiveKit's next answer decides about the room. Stop LiveKit, so that the redial comes before that answer.
    await livekit.suspend();
    await daemon.release(first);
    const { status, body } = await daemon.dispatch({ room, limits: SHORT }).finally(() => livekit.resume());
    expect(status).toBe(201);
    expect(await daemon.ended(first)).toMatchObject({ reason: 'requested' });
    await daemon.becomes(
      body.id,
      'live with its caller and its agent',
      ({ state, presence }) => state === 'live' && presence?.callers === 1 && presence.agents === 1,
    );
    await daemon.release(body.id);
    await daemon.ended(body.id);
  });

  it('100 dispatches at once start one worker for one room, and 100 workers for 100 rooms', async () => {
    const room = newRoom();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => daemon.dispatch({ room, agent: 'sleeper' })),
    );
    const created = answers.filter((one) => one.status === 201);
    expect(created).toHaveLength(1);
    const winner = answers.find((one) => one.status === 201);
    expect(answers.filter((one) => one.status === 409)).toHaveLength(99);
    expect(answers.find((one) => one.status === 409)?.body).toMatchObject({
      code: 'room_taken',
      holder: winner?.body.id,
    });
    const many = await Promise.all(
      Array.from({ length: 100 }, (_, index) => daemon.dispatch({ room: `many ${index}`, agent: 'sleeper' })),
    );
    await Promise.all(many.map((one) => daemon.reaches(one.body.id, ['live'], 90_000)));
    const mains = marked(daemon.instanceId()).filter((one) => /^\S*sleep 1000$/.test(one.command));
    expect(new Set(mains.map((one) => one.worker)).size).toBe(mains.length);
    expect(mains.length).toBe(101);
    await daemon.call('POST', '/v1/sessions/release', { all: true });
    await Promise.all([...created, ...many].map((one) => daemon.ended(one.body.id)));
    expect(marked(daemon.instanceId())).toEqual([]);
  });
});
