/** Warm workers that are forked from a zygote, with a real framework, a real server and a real caller. */
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

const PYTHON = findPythonAgents();

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('warm workers of a Python agent with a zygote', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-warm-forks-'));
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: {
        default: {
          command: [PYTHON, join(ROOT, 'test/fixtures/agents/preforked.py'), 'start'],
          protocol: 'livekit',
          prefork: 'auto',
          warm: 1,
          env: { PREFORKED: 'default' },
          callers_left: '300ms',
          ...SLOW_START,
          ladder: { term: '2s' },
        },
      },
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const capacity = async () => (await daemon.get<CapacityView>('/v1/capacity')).body;
  const warmIsReady = async () => (await capacity()).warm[0]?.ready === 1;
  /** The waiter and the worker. A cold worker has a shim, and processes of the framework beside it. */
  const isForked = (worker: string) => {
    const commands = marked(daemon.instanceId()).filter((one) => one.worker === worker);
    const own = commands.filter(({ command }) => command.includes('preforked.py'));
    return own.length === 2 && !own.some(({ command }) => command.startsWith('/bin/sh'));
  };
  const warmIds = () => [
    ...new Set(
      marked(daemon.instanceId()).flatMap(({ worker }) => (worker.startsWith('warm-') ? [worker] : [])),
    ),
  ];
  const workerOf = ({ pid }: SessionView) =>
    marked(daemon.instanceId()).find((one) => one.pid === pid)?.worker ?? '';
  const call = async (room: string): Promise<SessionView> => {
    await callers.join(room, 'ann');
    const { body } = await daemon.dispatch({ room, agent: 'default' });
    return daemon.reaches(body.id, ['live'], START_MS);
  };
  const importOf = (worker: string): Promise<string> =>
    until('the agent has shown its facts', () => {
      const log = readFileSync(join(daemon.dir, 'state/workers', worker, 'log'), 'utf8');
      const line = /^facts (.*)$/m.exec(log)?.[1];
      return line === undefined ? null : String((JSON.parse(line) as { at_import: unknown }).at_import);
    });

  it('are forks from the first one on, are renewed by a reload while one is ready, and replace a killed worker', async () => {
    // On an overloaded machine the first one starts cold after its wait. Then a fork takes its place.
    const first = await until(
      'the warm worker is a fork',
      async () => ((await warmIsReady()) && warmIds().length === 1 ? warmIds().find(isForked) : null),
      START_MS,
    );
    const one = await call('one');
    const worker = workerOf(one);
    expect(worker).toBe(first);
    const before = await importOf(worker);
    const second = await until(
      'the next warm worker is ready',
      async () => ((await warmIsReady()) ? warmIds().find((id) => id !== worker && isForked(id)) : null),
      START_MS,
    );

    await daemon.call('POST', '/v1/reload', {});
    const seen: (number | undefined)[] = [];
    await until(
      'another fork has taken its place',
      async () => {
        seen.push((await capacity()).warm[0]?.ready);
        return !warmIds().includes(second);
      },
      START_MS,
    );
    expect(Math.min(...seen.map((ready) => ready ?? 0))).toBe(1);
    const other = await call('two');
    expect(isForked(workerOf(other))).toBe(true);
    expect(await importOf(workerOf(other))).not.toBe(before);
    expect(await daemon.reaches(one.id, ['live'])).toMatchObject({ pid: one.pid, restarts: 0 });

    const third = await until(
      'a warm worker is ready again',
      async () =>
        (await warmIsReady()) ? warmIds().find((id) => id !== worker && id !== workerOf(other)) : null,
      START_MS,
    );
    process.kill(one.pid ?? 0, 'SIGKILL');
    await until(
      'the warm worker has the call of the one that was killed',
      async () => {
        const session = await daemon.session(one.id);
        return session.restarts === 1 && workerOf(session) === third;
      },
      START_MS,
    );
    expect(await importOf(third)).not.toBe(before);
  }, 300_000);
});
