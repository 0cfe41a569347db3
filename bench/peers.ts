/** `npm run bench -- --peers`: LiveKit's own runner, then curfew, with the same agent file. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findPythonAgents } from '../scripts/python-agents.mjs';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { FakeLiveKit, MessageSocket } from './parts.ts';
import type { Took } from './warm.ts';

const ROUNDS = 20;
/** Idle processes of both. */
const IDLE = 2;
/** LiveKit's runner starts a new idle process within this time, so each job gets a warm one. */
const REFILL_MS = 3_000;
const AGENT = join(ROOT, 'bench/entry-agent.py');

/** null: livekit-agents is not installed. `npm test` installs it. */
export async function measurePeers(): Promise<readonly Took[] | null> {
  const python = findPythonAgents();
  if (python === null) return null;
  return [await withOwnRunner(python), await underCurfew(python)];
}

async function withOwnRunner(python: string): Promise<Took> {
  const messages = new MessageSocket();
  await messages.listen();
  const livekit = await FakeLiveKit.start();
  const { url, api_key, api_secret } = livekit.access;
  const keys = { LIVEKIT_URL: url, LIVEKIT_API_KEY: api_key, LIVEKIT_API_SECRET: api_secret };
  const runner = spawn(python, [AGENT, 'start'], {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, ...keys, BENCH_SOCKET: messages.path },
  });
  const ms: number[] = [];
  try {
    await livekit.registered();
    await pause(REFILL_MS);
    for (let round = 0; round < ROUNDS; round++) {
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { assignedAtMs } = await livekit.offer(job, { token: TOKEN, url });
      ms.push((await messages.arrived(`job ${job.room}`)) - assignedAtMs);
      livekit.terminate(job.id);
      await pause(REFILL_MS);
    }
  } finally {
    endGroup(runner);
    livekit.close();
    messages.close();
  }
  return { what: 'LiveKit Agents: assignment → entry', ms, goal: '' };
}

async function underCurfew(python: string): Promise<Took> {
  const messages = new MessageSocket();
  await messages.listen();
  const livekit = await FakeLiveKit.start();
  const agent = {
    command: [python, AGENT, 'start'],
    protocol: 'livekit',
    agent_name: 'voice',
    warm: IDLE,
    start_timeout: '60s',
    ladder: { aclose: '200ms', term: '1s' },
    env: { BENCH_SOCKET: messages.path },
  };
  const config = {
    log: { level: 'warn' },
    livekit: livekit.access,
    presence: { poll_interval: '1h' },
    agents: { default: agent },
  };
  const daemon = new Daemon({ config });
  const ms: number[] = [];
  try {
    await daemon.start();
    await livekit.registered();
    const isReady = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.warm[0]?.ready === IDLE;
    for (let round = 0; round < ROUNDS; round++) {
      await until('the pool is full', isReady, 60_000);
      await pause(REFILL_MS);
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { assignedAtMs } = await livekit.offer(job);
      ms.push((await messages.arrived(`job ${job.room}`)) - assignedAtMs);
      await daemon.release(job.id);
      await daemon.ended(job.id);
    }
  } finally {
    await daemon.close();
    livekit.close();
    messages.close();
  }
  return { what: 'the same file under curfew', ms, goal: '' };
}

/** The framework reads the token and does not check the signature. */
const TOKEN = `${part64({ alg: 'HS256' })}.${part64({ sub: 'agent', video: { roomJoin: true } })}.x`;

function part64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // The process has already ended.
  }
}
