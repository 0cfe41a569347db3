/** How soon a call has its worker: by HTTP and by LiveKit's assignment, warm and cold, and until the agent is in the room. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { LiveKit } from '../test/support/livekit/livekit-server.ts';
import { Ear, LiveKitPart } from './parts.ts';

const ROUNDS = 200;
const JOINS = 30;
const WARM = 4;
const QUIET_MS = 150;
const WORKER = [process.execPath, join(ROOT, 'bench/warm-worker.mjs')];

export interface Took {
  readonly what: string;
  readonly ms: readonly number[];
  /** The same without curfew. */
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
  // The call before is over.
  await pause(QUIET_MS);
}

/** One call after the other, each with a full pool, so that nothing is measured but the path of a call. */
export async function measureHttp({ warm }: { warm: boolean }): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const daemon = daemonWith({ warm: warm ? WARM : 0, env: { BENCH_SOCKET: ear.path } }, {});
  const took: number[] = [];
  try {
    await daemon.start();
    for (let round = 0; round < (warm ? ROUNDS : JOINS); round++) {
      if (warm) await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      took.push((await ear.said(`job r${round}`)) - fromMs);
      await daemon.release(body.id);
    }
  } finally {
    await daemon.close();
    ear.close();
  }
  return warm
    ? { what: 'HTTP dispatch → job in a warm worker', ms: took, goal: 'p50 ≤ 3, p99 ≤ 10' }
    : { what: 'HTTP dispatch → job in a cold Node worker', ms: took, goal: '' };
}

/** LiveKit's part is played, so that the moment of its assignment is known. */
export async function measureJobs(): Promise<readonly Took[]> {
  const ear = new Ear();
  await ear.listen();
  const part = await LiveKitPart.start();
  const agent = { warm: WARM, agent_name: 'voice', env: { BENCH_SOCKET: ear.path } };
  const daemon = daemonWith(agent, { livekit: part.access, presence: { poll_interval: '1h' } });
  const [answered, assigned]: [number[], number[]] = [[], []];
  try {
    await daemon.start();
    await part.registered();
    for (let round = 0; round < ROUNDS; round++) {
      await ready(daemon);
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { answeredMs, assignedAtMs } = await part.hand(job);
      answered.push(answeredMs);
      assigned.push((await ear.said(`job ${job.room}`)) - assignedAtMs);
      await daemon.release(job.id);
    }
  } finally {
    await daemon.close();
    part.close();
    ear.close();
  }
  return [
    { what: 'LiveKit offers a job → it is accepted', ms: answered, goal: 'well below 3000' },
    { what: 'LiveKit assigns it → job in a warm worker', ms: assigned, goal: 'p50 ≤ 1.5, p99 ≤ 5' },
  ];
}

/** With a real server, until the agent is in its room. */
export async function measureJoin(): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const agent = { warm: WARM, env: { BENCH_SOCKET: ear.path, BENCH_JOIN: '1' } };
  const daemon = daemonWith(agent, livekit.config(join(dir, 'c.sock')), dir);
  const [took, connecting]: [number[], number[]] = [[], []];
  try {
    await daemon.start();
    for (let round = 0; round < JOINS; round++) {
      await ready(daemon);
      const fromMs = performance.now();
      const { body } = await daemon.dispatch({ room: `r${round}` });
      const joinedMs = await ear.said(`joined r${round}`);
      took.push(joinedMs - fromMs);
      connecting.push(joinedMs - (await ear.said(`job r${round}`)));
      await daemon.release(body.id);
      await daemon.ended(body.id);
    }
  } finally {
    await daemon.close();
    await livekit.close();
    ear.close();
  }
  const what = 'HTTP dispatch → agent connected to its room';
  // LiveKit's client alone, from the call of connect() on.
  return { what, ms: took, rawMs: connecting, goal: '≤ 120' };
}
