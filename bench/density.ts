/**
 * Memory of calls under LiveKit's own runner and under curfew: the sum of PSS over all processes. The agent is the Python example,
 * without a caller. A page that several processes share counts once. Source: proc(5), smaps_rollup.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findPythonAgents } from '../scripts/python-agents.mjs';
import type { CapacityView } from '../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { KEY, LiveKit, SECRET } from '../test/support/livekit/livekit-server.ts';
import { marked } from '../test/support/processes/marked-processes.ts';

const FEW = 2;
const MANY = 6;
const START_MS = 120_000;
const SETTLED_MS = 3000;
const KIB_PER_MB = 1000 / 1.024;

interface Density {
  readonly who: string;
  readonly fewMb: number;
  readonly manyMb: number;
  /** From a dispatch to the agent in its room. */
  readonly inRoomMs: readonly number[];
}

export async function measureDensity(): Promise<string> {
  const python = findPythonAgents();
  if (python === null) return 'density: livekit-agents is not installed; `npm test` installs it';
  const command = [python, join(ROOT, 'examples/livekit-agents/agent.py'), 'start'];
  const rows = [
    await underLiveKit(command),
    await underCurfew('curfew, `prefork: auto`', command, 'auto'),
    await underCurfew('curfew, `prefork: off`', command, 'off'),
  ];
  const [own] = rows;
  const further = ({ fewMb, manyMb }: Density) => (manyMb - fewMb) / (MANY - FEW);
  const lines = rows.map((one) => {
    const ratio = own === undefined ? Number.NaN : further(one) / further(own);
    const times = [...one.inRoomMs].sort((a, b) => a - b);
    const middle = times[Math.floor(times.length / 2)] ?? Number.NaN;
    return `| ${one.who} | ${one.fewMb.toFixed(0)} MB | ${one.manyMb.toFixed(0)} MB | ${further(one).toFixed(0)} MB | ${ratio.toFixed(1)} | ${middle.toFixed(0)} ms (${times[0]?.toFixed(0)} to ${times.at(-1)?.toFixed(0)}) |`;
  });
  return [
    `| Python, the example agent, no caller | ${FEW} calls | ${MANY} calls | one more call | ÷ LiveKit's own | dispatch → agent in its room |`,
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

async function underLiveKit(command: readonly string[]): Promise<Density> {
  const livekit = await LiveKit.start();
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    env: {
      PATH: process.env.PATH ?? '',
      HOME: tmpdir(),
      LIVEKIT_URL: livekit.url,
      LIVEKIT_API_KEY: KEY,
      LIVEKIT_API_SECRET: SECRET,
      LIVEKIT_AGENT_NAME: '',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  try {
    await until('the runner is registered', () => output.includes('registered worker'), START_MS);
    const dispatch = (room: string) => livekit.rooms.createRoom({ name: room });
    return await measure("LiveKit's own runner", livekit, { dispatch, pids: () => groupOf(child) });
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    await livekit.close();
  }
}

async function underCurfew(who: string, command: readonly string[], prefork: string): Promise<Density> {
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const profile = { command, protocol: 'livekit', prefork, start_timeout: '120s', no_caller: '1h' };
  const config = { ...livekit.config(join(dir, 'c.sock')), agents: { default: profile } };
  const daemon = await new Daemon({ config, dir }).start();
  try {
    if (prefork === 'auto') await startZygote(daemon);
    const dispatch = (room: string) => daemon.dispatch({ room });
    const pids = () => marked(daemon.instanceId()).map(({ pid }) => pid);
    return await measure(who, livekit, { dispatch, pids });
  } finally {
    await daemon.close();
    await livekit.close();
  }
}

/** The first worker of an agent starts cold, and its zygote beside it. */
async function startZygote(daemon: Daemon): Promise<void> {
  const { body } = await daemon.dispatch({ room: 'first' });
  await until(
    'the zygote is ready',
    async () => (await daemon.get<CapacityView>('/v1/capacity')).body.zygotes.some(({ ready }) => ready > 0),
    START_MS,
  );
  await daemon.release(body.id);
  await daemon.ended(body.id, START_MS);
}

async function measure(
  who: string,
  livekit: LiveKit,
  { dispatch, pids }: { dispatch: (room: string) => Promise<unknown>; pids: () => readonly number[] },
): Promise<Density> {
  const sums: number[] = [];
  const inRoomMs: number[] = [];
  for (let call = 1; call <= MANY; call += 1) {
    const room = `density-${call}`;
    const beganMs = performance.now();
    await dispatch(room);
    await until(
      'the agent is in its room',
      async () => (await livekit.rooms.listParticipants(room)).length > 0,
      START_MS,
    );
    inRoomMs.push(performance.now() - beganMs);
    if (call !== FEW && call !== MANY) continue;
    await pause(SETTLED_MS);
    sums.push(pids().reduce((sum, pid) => sum + pssMb(pid), 0));
  }
  const [fewMb = Number.NaN, manyMb = Number.NaN] = sums;
  return { who, fewMb, manyMb, inRoomMs };
}

/** 0: the process has ended. */
function pssMb(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) / KIB_PER_MB;
  } catch {
    return 0;
  }
}

/** The processes in the group of a child, which is a group of its own. */
function groupOf({ pid: leader }: ChildProcess): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
      return group === leader ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}
