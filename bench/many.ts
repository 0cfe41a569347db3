/** A thousand sessions: adopted after the supervisor's death, and released together while some ignore SIGTERM. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { marked } from '../test/support/processes/marked-processes.ts';
import { killAll } from '../test/support/processes/test-processes.ts';

const SESSIONS = 1000;
/** Sessions of these that use the control socket, and sessions that ignore SIGTERM in the release. */
const TALKING = 100;
const STUBBORN = 100;
const ROUNDS = 5;
const LADDER = { term: '2s', kill: '2s' };

export async function manyDaemon(): Promise<Daemon> {
  const beats = ['python3', '-S', '-E', join(ROOT, 'bench/beats.py')];
  return new Daemon({
    // The unit file and the installed command set the same.
    env: {
      NODE_COMPILE_CACHE: mkdtempSync(join(tmpdir(), 'curfew-cache-')),
      NODE_OPTIONS: '--max-semi-space-size=4',
    },
    config: {
      log: { level: 'warn' },
      limits: { sessions: 2000, start_rate: '10000/s', per_user: 'off' },
      shutdown: { timeout: '60s' },
      agents: {
        default: { command: ['sleep', '10000'], ladder: LADDER },
        talking: {
          command: beats,
          protocol: 'curfew',
          start_timeout: '120s',
          ladder: { aclose: '100ms', disconnect: '100ms' },
        },
        stubborn: { command: [join(ROOT, 'test/fixtures/workers/ignores-term.sh')], ladder: LADDER },
      },
    },
  }).start();
}

async function fill(daemon: Daemon, agents: readonly (readonly [string, number])[]): Promise<void> {
  const rooms = agents.flatMap(([agent, count]) => Array<string>(count).fill(agent));
  for (let at = 0; at < rooms.length; at += 50)
    await Promise.all(
      rooms.slice(at, at + 50).map((agent, index) => daemon.dispatch({ room: `room ${at + index}`, agent })),
    );
  await until('all are live', async () => (await live(daemon)) === rooms.length, 180_000);
}

async function live(daemon: Daemon): Promise<number> {
  const { body } = await daemon.get<{ sessions: { live: number } }>('/v1/capacity');
  return body.sessions.live;
}

/** Time from the start of the process until it has adopted every session and is ready. */
export async function measureAdoption(daemon: Daemon): Promise<string> {
  await fill(daemon, [
    ['default', SESSIONS - TALKING],
    ['talking', TALKING],
  ]);
  const before = marked(daemon.instanceId()).length;
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    daemon.signal('SIGKILL');
    await daemon.exited();
    const from = performance.now();
    const ready = daemon.start();
    await until(
      'it is ready',
      async () => (await daemon.get('/readyz').catch(() => null))?.status === 200,
      60_000,
    );
    took.push(performance.now() - from);
    await ready;
    if ((await live(daemon)) !== SESSIONS)
      throw new Error(`the supervisor adopted ${await live(daemon)} of ${SESSIONS} sessions`);
  }
  const doubled = marked(daemon.instanceId()).length - before;
  const idle = await idleMs(daemon);
  const sorted = took.sort((a, b) => a - b);
  const figures = [
    `ready after ${sorted.map((one) => one.toFixed(0)).join(', ')} ms (goal 500)`,
    `${doubled} processes more than before`,
    `a start without sessions: ${idle.toFixed(0)} ms`,
  ];
  return `${SESSIONS} live sessions, kill -9 and start, ${ROUNDS} times: ${figures.join('; ')}`;
}

/** The raw limit: a start of the same program without sessions. */
async function idleMs(other: Daemon): Promise<number> {
  await release(other);
  await other.stop();
  const from = performance.now();
  const ready = other.start();
  await until(
    'it is ready',
    async () => (await other.get('/readyz').catch(() => null))?.status === 200,
    60_000,
  );
  const took = performance.now() - from;
  await ready;
  return took;
}

async function release(daemon: Daemon): Promise<number> {
  const from = performance.now();
  await daemon.call('POST', '/v1/sessions/release', { all: true });
  await until(
    'all have ended',
    async () => {
      const { body } = await daemon.get<{ sessions: Record<string, number> }>('/v1/capacity');
      return Object.values(body.sessions).every((count) => count === 0);
    },
    120_000,
  );
  return performance.now() - from;
}

export async function measureRelease(daemon: Daemon): Promise<string> {
  await fill(daemon, [
    ['default', SESSIONS - STUBBORN],
    ['stubborn', STUBBORN],
  ]);
  const tookMs = await release(daemon);
  await pause(0);
  const left = marked(daemon.instanceId());
  killAll(left.map((one) => one.pid));
  const figures = [
    `all ended after ${(tookMs / 1000).toFixed(2)} s (TERM 2 s, KILL up to 2 s; goal: 1 s more)`,
    `${left.length} processes left`,
  ];
  return `release of ${SESSIONS} sessions, ${STUBBORN} of which ignore SIGTERM: ${figures.join(', ')}`;
}
