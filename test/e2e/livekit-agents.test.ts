/** Whole calls with unchanged LiveKit agents (`protocol: livekit`): real frameworks, real server, real callers. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentDispatchClient } from 'livekit-server-sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'waits.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'waits.mjs'), 'start']],
] as const;

describe.each(FRAMEWORKS)('an unchanged %s agent', (name, found, command) => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeEach(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-agents-'));
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: {
        default: {
          command,
          protocol: 'livekit',
          agent_name: 'voice',
          callers_left: '300ms',
          ...SLOW_START,
          ladder: { term: '2s' },
        },
      },
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterEach(async () => {
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  const agentsIn = async (room: string) =>
    (await livekit.rooms.listParticipants(room)).filter((one) => one.identity.startsWith('agent-'));
  const sidOfAgentIn = async (room: string) =>
    (await livekit.rooms.listParticipants(room)).find((one) => one.identity.startsWith('agent-'))?.sid;
  const live = (id: string) =>
    until(
      'the session is live',
      async () => {
        const session = await daemon.session(id);
        if (session.state === 'failed') throw new Error(JSON.stringify(session));
        return session.state === 'live' ? session : null;
      },
      START_MS,
    );
  const joined = (room: string) =>
    until('the agent is in the room', async () => (await agentsIn(room)).length === 1, START_MS);
  const workers = () => marked(daemon.instanceId());

  it.runIf(HAS_LIVEKIT && found !== null)(
    `an unchanged ${name} agent keeps its call when the supervisor dies, and is replaced when it dies`,
    async () => {
      await callers.join('r', 'ann');
      await until('the name is registered', async () => {
        const { body } = await daemon.get<CapacityView>('/v1/capacity');
        return body.jobs.find((one) => one.agentName === 'voice')?.state === 'registered';
      });
      await new AgentDispatchClient(`http://127.0.0.1:${livekit.port}`, KEY, SECRET).createDispatch(
        'r',
        'voice',
      );
      const session = await until('there is a session', async () => {
        const { body } = await daemon.get<{ sessions: SessionView[] }>('/v1/sessions');
        return body.sessions.find((one) => one.room === 'r') ?? null;
      });
      const { pid } = await live(session.id);
      await joined('r');
      const agent = await sidOfAgentIn('r');
      daemon.signal('SIGKILL');
      await daemon.exited();
      await daemon.start();
      expect(await daemon.reaches(session.id, ['live'])).toMatchObject({ pid, restarts: 0 });
      expect(await sidOfAgentIn('r')).toBe(agent);
      if (pid === null) throw new Error('no pid');
      process.kill(pid, 'SIGKILL');
      await until(
        'another worker has the call',
        async () => (await daemon.session(session.id)).restarts === 1,
        30_000,
      );
      await until(
        'another agent is in the room',
        async () => {
          const other = await sidOfAgentIn('r');
          return other !== undefined && other !== agent;
        },
        START_MS,
      );
      expect(await daemon.session(session.id)).toMatchObject({ state: 'live', restarts: 1 });
      await daemon.release(session.id);
      await daemon.reaches(session.id, ['released']);
      expect(workers()).toEqual([]);
    },
    240_000,
  );
});
