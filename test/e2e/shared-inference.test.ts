/** JavaScript agents that share the inference process of their zygote, with the real framework, a real server and real callers. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const INFERENCE = 'inference_proc_lazy_main';

describe.runIf(HAS_LIVEKIT)('a JavaScript agent with a zygote', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-inference-'));
    const command = [process.execPath, join(ROOT, 'test/fixtures/agents/session.mjs'), 'start'];
    const profile = { command, protocol: 'livekit', prefork: 'auto', callers_left: '300ms', ...SLOW_START };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: { default: profile },
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const call = async (room: string): Promise<SessionView> => {
    await callers.join(room, 'ann', { audio: false });
    const { body } = await daemon.dispatch({ room });
    const session = await daemon.reaches(body.id, ['live'], START_MS);
    await until('its AgentSession has started', () => logOf(session).includes('session started'), START_MS);
    return session;
  };
  const logOf = ({ id }: SessionView) =>
    readFileSync(join(daemon.stateDir, 'workers', `${id}.1`, 'log'), 'utf8');
  const processesOf = (id: string) =>
    marked(daemon.instanceId()).filter(({ worker }) => worker.startsWith(id));
  const inferenceOf = (id: string) => processesOf(id).filter(({ command }) => command.includes(INFERENCE));
  const zygote = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.zygotes[0];
  const ready = () => until('the zygote is ready', async () => (await zygote())?.ready === 1, START_MS);

  it('shares the inference process with later calls, each of one process, and they go on when it dies', async () => {
    const first = await call('first');
    expect(inferenceOf(first.id)).toHaveLength(1);
    await ready();
    expect(await zygote()).toMatchObject({ cold: null, old: null });
    const second = await call('second');
    // The shim and the worker.
    expect(processesOf(second.id)).toHaveLength(2);
    const shared = inferenceOf('zygote');
    expect(shared).toHaveLength(1);
    for (const { pid } of shared) process.kill(pid, 'SIGKILL');
    await until('the second call has one of its own', () => inferenceOf(second.id).length === 1, START_MS);
    await until(
      'the next zygote is there',
      () => inferenceOf('zygote').some((one) => one.pid !== shared[0]?.pid),
      START_MS,
    );
    await ready();
    for (const { id } of [first, second])
      expect(await daemon.session(id)).toMatchObject({ state: 'live', restarts: 0 });
    for (const room of ['first', 'second']) await callers.leave(room, 'ann');
    for (const { id } of [first, second])
      expect(await daemon.ended(id, START_MS)).toMatchObject({ state: 'released', restarts: 0 });
  });
});
