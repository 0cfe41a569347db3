/** LiveKit agents without a line for curfew: the launcher attaches to their AgentSessions. Real frameworks, server and callers. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

/** A framework takes seconds to import on a loaded machine. */
const START_MS = 60_000;
const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'session.py'), 'start']],
] as const;

describe.each(FRAMEWORKS)('an unchanged %s agent with an AgentSession', (_name, found, command) => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-attach-'));
    const common = { command, protocol: 'livekit', start_timeout: '60s', agent_absent: '60s' };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: {
        default: common,
        chat: { ...common, no_active_stream: '20s' },
        strict: { ...common, idle_timeout: '30s', heartbeat_stale: '15s' },
      },
    };
    daemon = await new Daemon({ config, dir }).start();
  }, 60_000);
  afterAll(async () => {
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  const reaches = (id: string, states: readonly SessionView['state'][], boundMs = START_MS) =>
    until(
      `the session is ${states.join(' or ')}`,
      async () => {
        const session = await daemon.session(id);
        const isOver = ['released', 'failed'].includes(session.state);
        if (isOver && !states.includes(session.state)) throw new Error(JSON.stringify(session));
        return states.includes(session.state) ? session : null;
      },
      boundMs,
    );
  const call = async (room: string, metadata: object, agent = 'default') => {
    await callers.join(room, 'ann', { audio: false });
    const { body } = await daemon.dispatch({ room, agent, metadata });
    return body.id;
  };

  it.runIf(HAS_LIVEKIT && found !== null)(
    'is replaced once when the model refuses its key, and then the session ends with the error of the model',
    async () => {
      const id = await call('refused', { mode: 'unauthorized' });
      const ended = await reaches(id, ['failed'], 150_000);
      console.log(JSON.stringify(ended, null, 1));
      expect(ended).toMatchObject({ reason: 'crashed', restarts: 1 });
    },
    240_000,
  );
});
