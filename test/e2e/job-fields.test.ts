/** The job, the room and the participant of an agent, by every way in. The conformance suite compares them with LiveKit's own runner. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { killAll } from '../support/processes/test-processes.ts';

const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'tells.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'tells.mjs'), 'start']],
] as const;

const AGENT_KIND = 4;

type Facts = Record<string, unknown>;

describe.each(FRAMEWORKS)('an unchanged %s agent', (framework, found, command) => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-fields-'));
  const tells = join(dir, 'tells');
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;
  const isHere = HAS_LIVEKIT && found !== null;

  beforeAll(async () => {
    if (!isHere) return;
    mkdirSync(tells);
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const agentEnv = (name: string) => ({ TELLS_DIR: tells, TELLS_NAME: name });
    const profile = (name: string, more: object = {}) => ({
      command,
      protocol: 'livekit',
      agent_name: name,
      // By the agent's own measure the host is full. Under curfew that decides nothing.
      env: { ...agentEnv(name), TELLS_LOAD: '0.95' },
      ...SLOW_START,
      no_caller: '120s',
      ladder: { aclose: '2s', term: '1s' },
      ...more,
    });
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      limits: { start_rate: '100/s' },
      agents: {
        cold: profile('cold', { room_on_end: 'close' }),
        warm: profile('warm', { warm: 1 }),
        pattern: profile('pattern', { agent_name: null, rooms: 'pattern-*' }),
      },
    };
    daemon = await new Daemon({ config, dir }).start();
    await until('curfew is registered', async () => {
      const { jobs } = (await daemon.get<CapacityView>('/v1/capacity')).body;
      return jobs.length === 2 && jobs.every((one) => one.state === 'registered');
    });
  }, 120_000);
  afterAll(async () => {
    if (!isHere) return;
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  const warmIsReady = () =>
    until(
      'a worker is warm',
      async () => (await daemon.get<CapacityView>('/v1/capacity')).body.warm.some((one) => one.ready === 1),
      START_MS,
    );
  const lines = (room: string, kind: 'asked' | 'told'): Facts[] => {
    const path = join(tells, `${room}.${kind}`);
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Facts);
  };
  const told = (room: string) => until(`${room} is told`, () => lines(room, 'told')[0], START_MS);
  /** The agent as its room shows it. */
  const participant = (room: string) =>
    until(`the agent is in ${room}`, async () => {
      const all = await livekit.rooms.listParticipants(room);
      const agent = all.find((one) => one.kind === AGENT_KIND);
      if (agent === undefined) return null;
      const { identity, name, metadata, attributes } = agent;
      return { identity, name, metadata, attributes };
    });
  const dispatch = async (room: string, agentName: string, metadata: string) => {
    await livekit.rooms.createRoom({ name: room, metadata: 'menu of today', emptyTimeout: 77 });
    return livekit.dispatches.createDispatch(room, agentName, { metadata });
  };
  const sessionIn = (room: string) =>
    until(`the session of ${room}`, async () => {
      const { body } = await daemon.get<{ sessions: SessionView[] }>('/v1/sessions');
      return body.sessions.find((one) => one.room === room);
    });

  it.runIf(isHere)(
    'the name, identity, metadata and attributes of an acceptance reach the room from a warm worker, by both ways in',
    async () => {
      await warmIsReady();
      await livekit.rooms.createRoom({ name: 'named-http', metadata: 'menu of today', emptyTimeout: 77 });
      await daemon.dispatch({ room: 'named-http', agent: 'warm', metadata: { mode: 'named' } });
      const http = await told('named-http');
      expect(http.room).toMatchObject({ name: 'named-http', metadata: 'menu of today', emptyTimeout: 77 });
      expect(http).toMatchObject({ metadata: '{"mode":"named"}', agentName: 'warm' });
      await warmIsReady();
      const { id: dispatchId } = await dispatch('named-warm', 'warm', 'named');
      const job = await told('named-warm');
      const { id } = await sessionIn('named-warm');
      const [room] = await livekit.rooms.listRooms(['named-warm']);
      expect(job).toMatchObject({ id, dispatchId, agentName: 'warm', metadata: 'named' });
      expect(job.room).toMatchObject({ sid: room?.sid, metadata: 'menu of today', emptyTimeout: 77 });
      expect(await participant('named-warm')).toEqual({
        identity: 'helper',
        name: 'Ada',
        metadata: 'from the agent',
        attributes: { shift: 'night', 'lk.agent.name': 'warm', 'lk.agent_name': 'warm' },
      });
      expect(await participant('named-http')).toMatchObject({ identity: 'helper', name: 'Ada' });
    },
    240_000,
  );

  it.runIf(isHere)(
    'a cold worker has the room as LiveKit describes it, by HTTP and by a room pattern',
    async () => {
      const rooms = ['cold-http', 'pattern-1'];
      for (const name of rooms)
        await livekit.rooms.createRoom({ name, metadata: 'menu of today', emptyTimeout: 77 });
      await daemon.dispatch({ room: 'cold-http', agent: 'cold', metadata: { mode: 'plain' } });
      for (const name of rooms) {
        const job = await told(name);
        const [room] = await livekit.rooms.listRooms([name]);
        expect(job.room).toMatchObject({
          name,
          sid: room?.sid,
          metadata: 'menu of today',
          emptyTimeout: 77,
          creationTime: String(room?.creationTime),
        });
        expect(job.dispatchId ?? '').toBe('');
        expect(job.metadata ?? '').toBe(name === 'cold-http' ? '{"mode":"plain"}' : '');
      }
    },
    240_000,
  );

  it.runIf(isHere)(
    'an agent that rejects is asked once, and its session ends as declined',
    async () => {
      // curfew hangs up after 10 s, whatever the framework is.
      const declined = framework === 'Python' ? ['declined-phone', 'declined-browser'] : [];
      await warmIsReady();
      await dispatch('refused-warm', 'warm', 'refuses');
      await dispatch('refused-cold', 'cold', 'refuses');
      const { body } = await daemon.dispatch({
        room: 'refused-http',
        agent: 'cold',
        metadata: { mode: 'refuses' },
      });
      // A phone that the agent declines is hung up on, a browser is not, and room_on_end decides after HTTP alone.
      for (const room of declined) {
        await callers.join(room, 'ann', room === 'declined-phone' ? { kind: 'sip' } : {});
        await livekit.dispatches.createDispatch(room, 'cold', { metadata: 'refuses' });
      }
      // `reject(terminate=False)`: LiveKit may ask others, and here is none.
      await dispatch('passed-warm', 'warm', 'passes');
      await dispatch('passed-cold', 'cold', 'passes');
      const rooms = ['refused-warm', 'refused-cold', 'refused-http', 'passed-warm', 'passed-cold'];
      for (const room of [...rooms, ...declined]) {
        const { id } = room === 'refused-http' ? body : await sessionIn(room);
        const ended = await until(
          `the session of ${room} is over`,
          async () => {
            const session = await daemon.session(id);
            return session.state === 'released' ? session : null;
          },
          START_MS,
        );
        expect(ended).toMatchObject({ reason: 'declined', evidence: { cause: 'declined' } });
        expect(lines(room, 'asked')).toHaveLength(1);
      }
      for (const room of ['refused-http', ...declined]) {
        const wanted = room === 'declined-browser' ? 1 : 0;
        await until(
          `${room} is ${wanted === 1 ? 'there' : 'closed'}`,
          async () => (await livekit.rooms.listRooms([room])).length === wanted,
        );
      }
      // The warm worker was not used up.
      const { warm } = (await daemon.get<CapacityView>('/v1/capacity')).body;
      expect(warm).toMatchObject([{ crashes: 0 }]);
    },
    240_000,
  );

  // The rule is curfew's own, so one framework is enough.
  if (framework !== 'Python') return;
  it.runIf(isHere)(
    'keeps the identity that it chose over a restart of the supervisor, and its replacement has the same one',
    async () => {
      const room = 'named-again';
      await callers.join(room, 'ann');
      const { body } = await daemon.dispatch({ room, agent: 'cold', metadata: { mode: 'named' } });
      await told(room);
      const agent = () =>
        until(`the agent is in ${room}`, async () => {
          const all = await livekit.rooms.listParticipants(room);
          return all.find((one) => one.kind === AGENT_KIND && one.identity === 'helper');
        });
      const first = await agent();
      await daemon.recorded(body.id, 'live');
      daemon.signal('SIGKILL');
      await daemon.exited();
      await daemon.start();
      await daemon.becomes(
        body.id,
        'live with its agent',
        ({ state, presence }) => state === 'live' && presence?.agents === 1 && presence.callers === 1,
      );
      expect((await agent()).sid).toBe(first.sid);
      killAll(
        marked(daemon.instanceId())
          .filter(({ worker }) => worker === `${body.id}.1`)
          .map(({ pid }) => pid),
      );
      await daemon.replaced(body.id, 1, START_MS);
      await until('the next agent is told its job', () => lines(room, 'told').length === 2, START_MS);
      expect((await agent()).sid).not.toBe(first.sid);
      await daemon.release(body.id);
      await daemon.ended(body.id);
      const left = await livekit.rooms.listParticipants(room);
      expect(left.filter((one) => one.kind === AGENT_KIND)).toEqual([]);
    },
    240_000,
  );
});
