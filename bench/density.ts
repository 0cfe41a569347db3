/**
 * Memory of calls under LiveKit's own runner and under curfew: the sum of PSS over all processes. The agents are the Python and the
 * JavaScript example, without a caller. A page that several processes share counts once. Source: proc(5), smaps_rollup.
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
import { medianText } from './parts.ts';

/** Numbers of calls at which the memory is read. Without a zygote 12 calls would take 5 GB. */
const CALLS = [2, 6, 12];
const CALLS_COLD = [2, 6];
const START_MS = 120_000;
const SETTLED_MS = 3000;
const KIB_PER_MB = 1000 / 1.024;

interface Density {
  readonly who: string;
  /** By the number of calls. */
  readonly sumMb: ReadonlyMap<number, number>;
  /** Of the supervisor itself. 0: there is none. */
  readonly supervisorMb: number;
  /** From a dispatch to the agent in its room. */
  readonly inRoomMs: readonly number[];
}

export async function measureDensity(): Promise<string> {
  const python = findPythonAgents();
  if (python === null) return 'density: livekit-agents is not installed; `npm test` installs it';
  return await measureAgent('Python', [python, join(ROOT, 'bench/density-agent.py'), 'start']);
}

export function measureDensityOfNode(): Promise<string> {
  return measureAgent('JavaScript', [process.execPath, join(ROOT, 'bench/density-agent.mjs'), 'start']);
}

async function measureAgent(name: string, command: readonly string[]): Promise<string> {
  const own = await underLiveKit(command);
  const rows = [
    own,
    await underCurfew('curfew, `prefork: auto`', command, 'auto'),
    await underCurfew('curfew, `prefork: off`', command, 'off'),
  ];
  const head = CALLS.map((calls) => ` ${calls} calls |`).join('');
  return [
    `| ${name}, the example agent, no caller |${head} one more call | ÷ LiveKit's own | sum ÷ LiveKit's own, without / with the supervisor | dispatch → agent in its room |`,
    `|---|${'---|'.repeat(CALLS.length + 4)}`,
    ...rows.map((one) => rowOf(one, own)),
  ].join('\n');
}

function rowOf(one: Density, own: Density): string {
  const sums = CALLS.map((calls) => ` ${textOf(one.sumMb.get(calls))} |`).join('');
  const [calls = 0, mb = Number.NaN] = [...one.sumMb].at(-1) ?? [];
  const ownMb = own.sumMb.get(calls) ?? Number.NaN;
  const wholes = `${(mb / ownMb).toFixed(2)} / ${((mb + one.supervisorMb) / ownMb).toFixed(2)}`;
  const more = furtherMb(one);
  return `| ${one.who} |${sums} ${more.toFixed(1)} MB | ${(more / furtherMb(own)).toFixed(2)} | ${calls} calls: ${wholes} | ${medianText(one.inRoomMs)} |`;
}

function textOf(mb: number | undefined): string {
  return mb === undefined ? '-' : `${mb.toFixed(0)} MB`;
}

function furtherMb({ sumMb }: Density): number {
  const [few, fewMb] = [...sumMb].at(0) ?? [0, Number.NaN];
  const [many, manyMb] = [...sumMb].at(-1) ?? [0, Number.NaN];
  return (manyMb - fewMb) / (many - few);
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
    const under = { dispatch, pids: () => groupOf(child), supervisor: undefined, calls: CALLS };
    return await measure("LiveKit's own runner", livekit, under);
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
    const calls = prefork === 'auto' ? CALLS : CALLS_COLD;
    return await measure(who, livekit, { dispatch, pids, supervisor: daemon.pid, calls });
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

interface Runner {
  readonly dispatch: (room: string) => Promise<unknown>;
  readonly pids: () => readonly number[];
  readonly supervisor: number | undefined;
  readonly calls: readonly number[];
}

async function measure(
  who: string,
  livekit: LiveKit,
  { dispatch, pids, supervisor, calls }: Runner,
): Promise<Density> {
  const sumMb = new Map<number, number>();
  const inRoomMs: number[] = [];
  for (let call = 1; call <= Math.max(...calls); call += 1) {
    const room = `density-${call}`;
    const beganMs = performance.now();
    await dispatch(room);
    await until(
      'the agent is in its room',
      async () => (await livekit.rooms.listParticipants(room)).length > 0,
      START_MS,
    );
    inRoomMs.push(performance.now() - beganMs);
    if (!calls.includes(call)) continue;
    await pause(SETTLED_MS);
    sumMb.set(
      call,
      pids().reduce((sum, pid) => sum + pssMb(pid), 0),
    );
  }
  return { who, sumMb, supervisorMb: supervisor === undefined ? 0 : pssMb(supervisor), inRoomMs };
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
