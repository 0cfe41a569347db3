/** Time until a call has its worker, by HTTP and by LiveKit's assignment, warm and cold; and until the agent is in the room. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { LiveKit } from '../test/support/livekit/livekit-server.ts';
import { FakeLiveKit, MessageSocket } from './parts.ts';

const ROUNDS = 200;
const JOINS = 30;
const WARM = 4;
const QUIET_MS = 150;
const WORKER = [process.execPath, join(ROOT, 'bench/warm-worker.mjs')];

export interface Took {
  readonly what: string;
  readonly ms: readonly number[];
  /** The same measurement without curfew. */
  readonly rawMs?: readonly number[];
  readonly goal: string;
}

function daemonWith(agent: object, more: object, dir?: string): Daemon {
  return new Daemon({
    ...(dir === undefined ? {} : { dir }),
    config: {
      log: { level: 'warn' },
      limits: { sessions: 2000, start_rate: '10000/s', per_user: 'off' },
      agents: { default: { command: WORKER, protocol: 'curfew', ...agent } },
      ...more,
    },
  });
}

async function ready(daemon: Daemon): Promise<void> {
  const isReady = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.warm[0]?.ready === WARM;
  await until('the pool is full', isReady, 60_000);
  // Time for the teardown of the call before.
  await pause(QUIET_MS);
}

/** One call after the other, each with a full pool, so that the time is that of one call alone. */
export async function measureHttp({ warm }: { warm: boolean }): Promise<Took> {
  const messages = new MessageSocket();
  await messages.listen();
  const daemon = daemonWith({ warm: warm ? WARM : 0, env: { BENCH_SOCKET: messages.path } }, {});
  const took: number[] = [];
  try {
    await daemon.start();
    for (let round = 0; round < (warm ? ROUNDS : JOINS); round++) {
      if (warm) await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      took.push((await messages.arrived(`job r${round}`)) - fromMs);
      await daemon.release(body.id);
    }
  } finally {
    await daemon.close();
    messages.close();
  }
  return warm
    ? { what: 'HTTP dispatch → job in a warm worker', ms: took, goal: 'p50 ≤ 3, p99 ≤ 10' }
    : { what: 'HTTP dispatch → job in a cold Node worker', ms: took, goal: '' };
}

/** A fake LiveKit, so that the time of its assignment is known. */
export async function measureJobs(): Promise<readonly Took[]> {
  const messages = new MessageSocket();
  await messages.listen();
  const livekit = await FakeLiveKit.start();
  const agent = { warm: WARM, agent_name: 'voice', env: { BENCH_SOCKET: messages.path } };
  const daemon = daemonWith(agent, { livekit: livekit.access, presence: { poll_interval: '1h' } });
  const [answered, assigned]: [number[], number[]] = [[], []];
  try {
    await daemon.start();
    await livekit.registered();
    for (let round = 0; round < ROUNDS; round++) {
      await ready(daemon);
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { answeredMs, assignedAtMs } = await livekit.offer(job);
      answered.push(answeredMs);
      assigned.push((await messages.arrived(`job ${job.room}`)) - assignedAtMs);
      await daemon.release(job.id);
    }
  } finally {
    await daemon.close();
    livekit.close();
    messages.close();
  }
  return [
    { what: 'LiveKit offers a job → it is accepted', ms: answered, goal: 'well below 3000' },
    { what: 'LiveKit assigns it → job in a warm worker', ms: assigned, goal: 'p50 ≤ 1.5, p99 ≤ 5' },
  ];
}

/** With a real server: time until the agent is in its room. */
export async function measureJoin(): Promise<Took> {
  const messages = new MessageSocket();
  await messages.listen();
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const agent = { warm: WARM, env: { BENCH_SOCKET: messages.path, BENCH_JOIN: '1' } };
  const daemon = daemonWith(agent, livekit.config(join(dir, 'c.sock')), dir);
  const [took, connecting]: [number[], number[]] = [[], []];
  try {
    await daemon.start();
    for (let round = 0; round < JOINS; round++) {
      await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      const joinedMs = await messages.arrived(`joined r${round}`);
      took.push(joinedMs - fromMs);
      connecting.push(joinedMs - (await messages.arrived(`job r${round}`)));
      await daemon.release(body.id);
      await daemon.ended(body.id);
    }
  } finally {
    await daemon.close();
    await livekit.close();
    messages.close();
  }
  const what = 'HTTP dispatch → agent connected to its room';
  // The raw time is that of LiveKit's client alone, from the call of connect().
  return { what, ms: took, rawMs: connecting, goal: '≤ 120' };
}
