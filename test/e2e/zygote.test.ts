/** Workers that are forked from a zygote, with a real framework, a real server and real callers. */
import { mkdtempSync, readFileSync } from 'node:fs';
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
import { suspend } from '../support/processes/test-processes.ts';

const PYTHON = findPythonAgents();
const UNFIT = ['thread', 'runs'] as const;

/** The facts that test/fixtures/agents/preforked.py prints. */
interface Facts {
  readonly [name: string]: unknown;
  readonly pid: number;
}

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('a Python agent with a zygote', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-zygote-'));
    const profile = {
      command: [PYTHON, join(ROOT, 'test/fixtures/agents/preforked.py'), 'start'],
      protocol: 'livekit',
      prefork: 'auto',
      callers_left: '300ms',
      ...SLOW_START,
      ladder: { term: '2s' },
    };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      limits: { start_rate: '100/s' },
      agents: Object.fromEntries(
        ['default', ...UNFIT, 'exit'].map((does) => [does, { ...profile, env: { PREFORKED: does } }]),
      ),
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const call = async (room: string, agent = 'default'): Promise<SessionView> => {
    await callers.join(room, 'ann');
    const { body, status } = await daemon.dispatch({ room, agent });
    expect(status, JSON.stringify(body)).toBe(201);
    return daemon.reaches(body.id, ['live'], START_MS);
  };
  /** The waiter and the worker. A cold worker has a shim, and processes of the framework beside it. */
  const isForked = (session: SessionView) => {
    const commands = processesOf(session).map(({ command }) => command);
    const own = commands.filter((one) => one.includes('preforked.py'));
    return own.length === 2 && !own.some((one) => one.startsWith('/bin/sh'));
  };
  /** On an overloaded machine a zygote may miss its bound. Then the call starts cold, and the next zygote gets another one. */
  const forkedCall = async (room: string): Promise<SessionView> => {
    for (let attempt = 1; ; attempt += 1) {
      await ready();
      const session = await call(`${room}-${attempt}`);
      if (isForked(session) || attempt === 3) return session;
      await hangUp(session);
    }
  };
  const viewOf = async (agent: string) => {
    const { body } = await daemon.get<CapacityView>('/v1/capacity');
    return body.zygotes.find((one) => one.agent === agent);
  };
  const ready = () =>
    until('the zygote is ready', async () => (await viewOf('default'))?.ready === 1, START_MS);
  const factsOf = ({ id }: SessionView): Promise<Facts> =>
    until('the agent has shown its facts', () => {
      const log = readFileSync(join(daemon.dir, 'state/workers', `${id}.1`, 'log'), 'utf8');
      const line = /^facts (.*)$/m.exec(log)?.[1];
      return line === undefined ? null : (JSON.parse(line) as Facts);
    });
  const processesOf = ({ id }: SessionView) =>
    marked(daemon.instanceId()).filter(({ worker }) => worker.startsWith(id));
  const zygotePid = () =>
    marked(daemon.instanceId()).find(
      ({ worker, command }) => worker.startsWith('zygote-') && !command.startsWith('/bin/sh'),
    )?.pid ?? 0;
  const hangUp = async ({ id, room }: SessionView) => {
    await callers.leave(room, 'ann');
    return daemon.reaches(id, ['released'], 30_000);
  };

  it('starts its first call cold and forks the next ones, which share nothing of a call', async () => {
    const first = await call('first');
    await ready();
    const calls = [await forkedCall('second'), await forkedCall('third')] as const;
    const [one, other] = await Promise.all([factsOf(calls[0]), factsOf(calls[1])]);
    const same = { at_import: one.at_import, cwd: one.cwd, set_at_import: 'kept', zygote: null };
    for (const facts of [one, other])
      expect(facts).toMatchObject({ ...same, thread: 'MainThread', executor: 'PROCESS', handled: ['usr2'] });
    expect([one.calls, other.calls]).toEqual(calls.map((session) => [session.room]));
    for (const name of ['pid', 'session', 'random', 'numpy', 'uuid', 'ssl', 'token', 'temp'])
      expect(one[name], name).not.toBe(other[name]);
    expect([first, ...calls].map(isForked)).toEqual([false, true, true]);
    expect(calls.map(({ pid }) => pid)).toEqual([one.pid, other.pid]);
    for (const session of calls) expect(await hangUp(session)).toMatchObject({ reason: 'callers_left' });
    await hangUp(first);
  }, 180_000);

  it('keeps its forked calls over the end of its zygote and of its supervisor', async () => {
    await ready();
    const session = await forkedCall('kept');
    process.kill(zygotePid(), 'SIGKILL');
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect(await daemon.reaches(session.id, ['live'])).toMatchObject({ pid: session.pid, restarts: 0 });
    expect(await hangUp(session)).toMatchObject({ reason: 'callers_left', exit: { code: 0 } });
    expect(processesOf(session)).toEqual([]);
  }, 120_000);

  it('gives its zygote to the next supervisor', async () => {
    await call('again').then((session) => hangUp(session));
    await ready();
    const pid = zygotePid();
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    await ready();
    expect(zygotePid()).toBe(pid);
    const session = await forkedCall('adopted');
    expect(isForked(session)).toBe(true);
    await hangUp(session);
  }, 120_000);

  it('starts a call cold within the same dispatch when its zygote hangs', async () => {
    await ready();
    const pid = zygotePid();
    await suspend(pid);
    const session = await call('hangs');
    expect(session).toMatchObject({ restarts: 0, errors: { total: 0 } });
    await until(
      'the zygote that hung is gone',
      () => !marked(daemon.instanceId()).some((one) => one.pid === pid),
    );
    await ready();
    expect(zygotePid()).not.toBe(pid);
    await hangUp(session);
  }, 180_000);

  it('starts cold where its import would be shared or its zygote fails, and says why', async () => {
    const sessions = await Promise.all([...UNFIT, 'exit'].map((agent) => call(agent, agent)));
    const cold = async (agent: string) =>
      until(
        `${agent} is known`,
        async () => {
          const why = (await viewOf(agent))?.cold;
          return why === 'its zygote is not ready yet' ? null : why;
        },
        START_MS,
      );
    expect(await cold('thread')).toMatch(/started a thread \(poller\)/);
    expect(await cold('runs')).toMatch(/does not start its worker by the framework's command line/);
    expect(await cold('exit')).toMatch(/its zygote failed: it exited with code 3/);
    for (const session of sessions) await hangUp(session);
  }, 240_000);
});
