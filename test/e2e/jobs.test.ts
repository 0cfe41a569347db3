/** Calls by LiveKit's own dispatch and by a room pattern: real server, real callers, real agents. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AccessToken, AgentDispatchClient } from 'livekit-server-sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

const AGENT = {
  command: [process.execPath, `${ROOT}/test/fixtures/agent.mjs`],
  protocol: 'curfew',
  callers_left: '300ms',
};

describe.runIf(HAS_LIVEKIT)('calls without a dispatch by HTTP', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeEach(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
  });
  afterEach(async () => {
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  async function serve(
    agents: Record<string, object>,
    more: object = {},
    dir = mkdtempSync(join(tmpdir(), 'curfew-jobs-')),
  ): Promise<void> {
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      limits: { start_rate: '100/s' },
      agents,
      ...more,
    };
    daemon = await new Daemon({ config, dir }).start();
    await until('every name is registered', async () =>
      (await names()).every((one) => one.state === 'registered'),
    );
  }

  const names = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.jobs;
  const dispatches = () => new AgentDispatchClient(`http://127.0.0.1:${livekit.port}`, KEY, SECRET);
  const sessions = async () => (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions;
  const sessionIn = async (room: string) => (await sessions()).find((one) => one.room === room) ?? null;
  const agentsIn = async (room: string) =>
    (await livekit.rooms.listParticipants(room)).filter((one) => one.identity.startsWith('agent-')).length;
  const jobEnds = (status: string) =>
    livekit.log.split('\n').filter((line) => line.includes('job ended') && line.includes(status));

  it("LiveKit's dispatch becomes a session with its metadata, and LiveKit shows success after the hang-up", async () => {
    await serve({ default: { ...AGENT, agent_name: 'voice' } });
    await callers.join('r', 'ann');
    const metadata = JSON.stringify({
      lang: 'de',
      curfew: { user: 'u1', labels: { tier: 'gold' }, limits: { maxDurationMs: 600_000 } },
    });
    await dispatches().createDispatch('r', 'voice', { metadata });
    const session = await until('the session is live', async () => {
      const one = await sessionIn('r');
      return one?.state === 'live' ? one : null;
    });
    expect(session).toMatchObject({
      agent: 'default',
      user: 'u1',
      labels: { tier: 'gold' },
      metadata: { lang: 'de' },
    });
    expect(session.id).toMatch(/^AJ_/);
    await until('the agent is in the room', async () => (await agentsIn('r')) === 1);
    await callers.leave('r', 'ann');
    const ended = await until('the session has ended', async () => {
      const one = await daemon.session(session.id);
      return one.state === 'released' ? one : null;
    });
    expect(ended).toMatchObject({ reason: 'callers_left' });
    await until('LiveKit shows success', () => jobEnds('JS_SUCCESS').length === 1);
    expect(jobEnds('JS_FAILED')).toEqual([]);
  });

  it("an agent joins the room that a token's room configuration asks it for", async () => {
    await serve({ default: { ...AGENT, agent_name: 'voice' } });
    const token = new AccessToken(KEY, SECRET, { identity: 'ann', ttl: 600 });
    token.addGrant({ room: 'r', roomJoin: true });
    const { RoomConfiguration } = await import('@livekit/protocol');
    token.roomConfig = RoomConfiguration.fromJson({ agents: [{ agentName: 'voice' }] }) as never;
    await callers.joinWith('r', 'ann', await token.toJwt());
    await until('the agent is in the room', async () => (await agentsIn('r')) === 1);
  });

  it('an agent with an empty name gets each new room, and a dispatch by HTTP for that room is refused', async () => {
    await serve({ default: { ...AGENT, agent_name: '' } });
    await callers.join('r', 'ann');
    const session = await until('the session is live', async () => {
      const one = await sessionIn('r');
      return one?.state === 'live' ? one : null;
    });
    expect(await daemon.dispatch({ room: 'r' })).toMatchObject({ status: 409, body: { holder: session.id } });
  });

  it('a session ends when its dispatch is deleted in LiveKit', async () => {
    await serve({ default: { ...AGENT, agent_name: 'voice' } });
    await callers.join('r', 'ann');
    const { id } = await dispatches().createDispatch('r', 'voice');
    await until('the agent is in the room', async () => (await agentsIn('r')) === 1);
    await dispatches().deleteDispatch(id, 'r');
    const ended = await until('the session has ended', async () => {
      const one = await sessionIn('r');
      return one?.state === 'released' ? one : null;
    });
    expect(ended).toMatchObject({
      reason: 'requested',
      evidence: { cause: 'job_terminated', by: 'livekit' },
    });
  });

  it.each([
    ['while it starts', 'joins-twice'],
    ['in its call', 'joins-again'],
  ])('an agent that joins its room again %s keeps its call, although LiveKit ends the job', async (_when, mode) => {
    await serve({ default: { ...AGENT, agent_name: 'voice' } });
    // Because: for 5 s from the first dispatch LiveKit does not know which job an agent serves.
    await dispatches().createDispatch('first', 'voice');
    await until('LiveKit knows the job', async () => {
      const all = await dispatches().listDispatch('first');
      return all.find((one) => one.agentName === 'voice')?.state?.jobs.length === 1;
    });
    await callers.join('r', 'ann');
    await dispatches().createDispatch('r', 'voice', { metadata: JSON.stringify({ mode }) });
    await until('LiveKit has ended the job', () => jobEnds('JS_FAILED').length === 1);
    const session = await until('the session is live, with its agent', async () => {
      const one = await sessionIn('r');
      return one?.state === 'live' && (await agentsIn('r')) === 1 ? one : null;
    });
    await callers.leave('r', 'ann');
    expect(await daemon.ended(session.id)).toMatchObject({ reason: 'callers_left', restarts: 0 });
  });

  it('a call at the limit is refused at once: a lone phone is hung up on, a browser is not', async () => {
    await serve({ default: { ...AGENT, agent_name: 'voice' } }, { limits: { per_user: 1 } });
    // LiveKit offers nothing to a full host, so the test uses the limit of a user, which LiveKit does not know.
    const metadata = JSON.stringify({ curfew: { user: 'u1' } });
    const call = (room: string) => dispatches().createDispatch(room, 'voice', { metadata });
    await callers.join('a', 'ann');
    await call('a');
    await until('the session is live', async () => (await sessionIn('a'))?.state === 'live');
    await callers.join('b', 'cleo');
    await callers.join('c', 'bob', { kind: 'sip' });
    await call('b');
    await call('c');
    await until(
      'the room of the phone is closed',
      async () => (await livekit.rooms.listRooms(['c'])).length === 0,
    );
    expect(await livekit.rooms.listRooms(['b'])).toHaveLength(1);
    expect((await sessions()).map((one) => [one.room, one.state])).toEqual([['a', 'live']]);
  });

  it('a room with a matching name gets one session, also without a webhook', async () => {
    await serve({ default: { ...AGENT, rooms: 'call-*' } });
    await callers.join('call-1', 'ann');
    await callers.join('other', 'bob');
    const session = await until('the session is live', async () => {
      const one = await sessionIn('call-1');
      return one?.state === 'live' ? one : null;
    });
    await daemon.release(session.id);
    await daemon.reaches(session.id, ['released']);
    await callers.join('call-2', 'cleo');
    await until('the next room has a session', async () => (await sessionIn('call-2'))?.state === 'live');
    expect((await sessions()).map((one) => one.room).sort()).toEqual(['call-1', 'call-2']);
  });

  it('a room that a dispatch served gets no second agent by its name, also after a restart', async () => {
    const keeps = { ...AGENT, room_on_end: 'keep' };
    await serve({ default: AGENT, keeps });
    const served = async (room: string, agent: string, who: string[]) => {
      for (const identity of who) await callers.join(room, identity);
      const { body } = await daemon.dispatch({ room, agent });
      const isSeen = ({ state, presence }: SessionView) =>
        state === 'live' && presence?.callers === who.length && presence.agents === 1;
      await until('all callers and the agent are seen', async () => isSeen(await daemon.session(body.id)));
      await daemon.release(body.id);
      const { evidence } = await daemon.reaches(body.id, ['released']);
      return evidence?.room?.action;
    };
    expect(await served('hall-watched', 'default', ['ann', 'bob'])).toBe('watch');
    expect(await served('hall-kept', 'keeps', ['cleo'])).toBe('keep');
    await daemon.stop();
    await serve({ default: { ...AGENT, rooms: '*' }, keeps }, {}, daemon.dir);
    await callers.join('new', 'dora');
    await until('a new room has its agent', async () => (await sessionIn('new'))?.state === 'live');
    expect((await sessions()).map((one) => one.room).sort()).toEqual(['hall-kept', 'hall-watched', 'new']);
  });

  it('a phone is hung up on when curfew cannot take its room, and a browser is not', async () => {
    await serve({ default: { ...AGENT, rooms: 'call-*', sessions: 0 } });
    await callers.join('call-phone', 'bob', { kind: 'sip' });
    await callers.join('call-browser', 'ann');
    await until(
      'the room of the phone is closed',
      async () => (await livekit.rooms.listRooms(['call-phone'])).length === 0,
      30_000,
    );
    expect(await livekit.rooms.listRooms(['call-browser'])).toHaveLength(1);
    expect(await sessions()).toEqual([]);
  });

  it('a caller in the side room keeps the session in use', async () => {
    await serve({ default: { ...AGENT, rooms: '*', side_rooms: '{room}-human' } });
    await callers.join('r', 'ann');
    const session = await until('the session is live', async () => {
      const one = await sessionIn('r');
      return one?.state === 'live' && one.presence?.callers === 1 ? one : null;
    });
    await callers.join('r-human', 'ann');
    await callers.leave('r', 'ann');
    const seen = async () => {
      const one = await daemon.session(session.id);
      return one.presence?.callers === 0;
    };
    await until('the session shows that the caller left', seen);
    expect(await sessionIn('r-human')).toBeNull();
    expect(await daemon.session(session.id)).toMatchObject({ state: 'live' });
    await callers.leave('r-human', 'ann');
    await daemon.reaches(session.id, ['released']);
  });
});
