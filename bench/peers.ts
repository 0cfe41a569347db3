/** `npm run bench -- --peers`: LiveKit's own runner beside curfew, with the same agent file, one after the other. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findPythonAgents } from '../scripts/python-agents.mjs';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { Ear, LiveKitPart } from './parts.ts';
import type { Took } from './warm.ts';

const ROUNDS = 20;
/** Both have this many idle processes. */
const IDLE = 2;
/** LiveKit's runner refills its idle processes in this time, so that each job finds a warm one. */
const REFILL_MS = 3_000;
const AGENT = join(ROOT, 'bench/entry-agent.py');

/** null: livekit-agents is not installed here; `npm test` installs it. */
export async function measurePeers(): Promise<readonly Took[] | null> {
  const python = findPythonAgents();
  if (python === null) return null;
  return [await itself(python), await underCurfew(python)];
}

async function itself(python: string): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const part = await LiveKitPart.start();
  const { url, api_key, api_secret } = part.access;
  const keys = { LIVEKIT_URL: url, LIVEKIT_API_KEY: api_key, LIVEKIT_API_SECRET: api_secret };
  const runner = spawn(python, [AGENT, 'start'], {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, ...keys, BENCH_SOCKET: ear.path },
  });
  const ms: number[] = [];
  try {
    await part.registered();
    await pause(REFILL_MS);
    for (let round = 0; round < ROUNDS; round++) {
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { assignedAtMs } = await part.hand(job, { token: TOKEN, url });
      ms.push((await ear.said(`job ${job.room}`)) - assignedAtMs);
      part.terminate(job.id);
      await pause(REFILL_MS);
    }
  } finally {
    endGroup(runner);
    part.close();
    ear.close();
  }
  return { what: 'LiveKit Agents: assignment → entry', ms, goal: '' };
}

async function underCurfew(python: string): Promise<Took> {
  const ear = new Ear();
  await ear.listen();
  const part = await LiveKitPart.start();
  const agent = {
    command: [python, AGENT, 'start'],
    protocol: 'livekit',
    agent_name: 'voice',
    warm: IDLE,
    start_timeout: '60s',
    ladder: { aclose: '200ms', term: '1s' },
    env: { BENCH_SOCKET: ear.path },
  };
  const config = {
    log: { level: 'warn' },
    livekit: part.access,
    presence: { poll_interval: '1h' },
    agents: { default: agent },
  };
  const daemon = new Daemon({ config });
  const ms: number[] = [];
  try {
    await daemon.start();
    await part.registered();
    const isReady = async () => (await daemon.get<CapacityView>('/v1/capacity')).body.warm[0]?.ready === IDLE;
    for (let round = 0; round < ROUNDS; round++) {
      await until('the pool is full', isReady, 60_000);
      await pause(REFILL_MS);
      const job = { id: `AJ_${round}`, room: `r${round}` };
      const { assignedAtMs } = await part.hand(job);
      ms.push((await ear.said(`job ${job.room}`)) - assignedAtMs);
      await daemon.release(job.id);
      await daemon.ended(job.id);
    }
  } finally {
    await daemon.close();
    part.close();
    ear.close();
  }
  return { what: 'the same file under curfew: the same', ms, goal: '' };
}

/** The framework reads it and does not check it. */
const TOKEN = `${part64({ alg: 'HS256' })}.${part64({ sub: 'agent', video: { roomJoin: true } })}.x`;

function part64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
