/** Workers that are forked from a zygote, with real frameworks, a real server and real callers. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const START_MS = 60_000;
const PYTHON = findPythonAgents();

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('a Python agent with a zygote', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeEach(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-zygote-'));
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: {
        default: {
          command: [PYTHON, join(ROOT, 'test/fixtures/agents/waits.py'), 'start'],
          protocol: 'livekit',
          prefork: 'auto',
          callers_left: '300ms',
          start_timeout: '60s',
          agent_absent: '60s',
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
  const live = (id: string) => daemon.reaches(id, ['live'], START_MS);
  const call = async (room: string) => {
    await callers.join(room, 'ann');
    const { body } = await daemon.dispatch({ room });
    const session = await live(body.id);
    await until('the agent is in the room', async () => (await agentsIn(room)).length === 1, START_MS);
    return session;
  };
  const zygote = () =>
    until(
      'the zygote is ready',
      async () => {
        const { body } = await daemon.get<CapacityView>('/v1/capacity');
        return body.zygotes.find((one) => one.ready === 1) ?? null;
      },
      START_MS,
    );
  const logsOf = (pattern: RegExp) =>
    readdirSync(join(daemon.dir, 'state/workers'))
      .filter((name) => pattern.test(name))
      .map((name) => `${name}: ${readFileSync(join(daemon.dir, 'state/workers', name, 'log'), 'utf8')}`)
      .join('\n');

  it('starts the first call cold, forks the next ones, and keeps them over a restart and the end of its zygote', async () => {
    await call('first');
    await zygote();
    const second = await call('second');
    const third = await call('third');
    const commands = marked(daemon.instanceId());
    console.log(commands.length, logsOf(/^[sz]/).slice(0, 9000));
    expect(second.pid).not.toBe(third.pid);
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await live(second.id)).toMatchObject({ pid: second.pid, restarts: 0 });
    await callers.leave('second', 'ann');
    expect(await daemon.reaches(second.id, ['released'], 30_000)).toMatchObject({ reason: 'callers_left' });
    expect(await live(third.id)).toMatchObject({ pid: third.pid, restarts: 0 });
  }, 180_000);
});
