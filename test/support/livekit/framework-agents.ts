/** Real LiveKit agents. They start as a worker does: with the stand-in's keys, our launchers and an own process group. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { findPythonAgents } from '../../../scripts/python-agents.mjs';
import { launchEnv } from '../../../src/adapters/livekit/standin/agent-env.ts';
import { workerId } from '../../../src/core/ids.ts';
import { ROOT } from '../daemon/daemon.ts';
import { until } from '../lib/wait.ts';
import { endWithThisProcess } from '../processes/keeper.ts';
import { marked } from '../processes/marked-processes.ts';
import { killAll } from '../processes/test-processes.ts';
import type { LiveKit } from './livekit-server.ts';
import type { StandInRig } from './standin-rig.ts';
import { jobOf } from './standin-rig.ts';

export type Framework = 'python' | 'javascript';

export interface AgentOptions {
  /** A file in test/fixtures/agents, without its extension. */
  readonly file?: string;
  readonly env?: Record<string, string>;
}

/** A loaded machine needs long for the imports of a framework. The bounds of a profile say the same. */
export const START_MS = 150_000;
export const SLOW_START = { start_timeout: '150s', agent_absent: '150s' } as const;

/** The command line of an agent: the program, the file and the subcommand. */
function commandOf(framework: Framework, name: string): string[] {
  const file = join(ROOT, 'test', 'fixtures', 'agents', name);
  if (framework === 'javascript') return [process.execPath, `${file}.mjs`, 'start'];
  return [findPythonAgents() ?? 'livekit-agents-is-not-installed', `${file}.py`, 'start'];
}

export class Agents {
  readonly #rig: StandInRig;
  readonly #children = new Map<string, ChildProcess>();
  readonly #output = new Map<string, string>();

  constructor(rig: StandInRig) {
    this.#rig = rig;
  }

  start(name: string, framework: Framework, { file = 'waits', env: more = {} }: AgentOptions = {}): void {
    const [command = '', ...args] = commandOf(framework, file);
    const { standIn, instance, dir } = this.#rig;
    const { PATH = '', HOME = dir } = process.env;
    const env = { PATH, HOME, CURFEW_WORKER: `${instance.id}/${name}`, ...more };
    const access = { url: standIn.url, ...standIn.keysFor(workerId(name)) };
    const child = spawn(command, args, {
      cwd: dir,
      env: { ...env, ...launchEnv(env, access) },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    endWithThisProcess(child, 'group');
    this.#children.set(name, child);
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => this.#output.set(name, this.output(name) + chunk.toString()));
  }

  /** Waits until the agent is connected. */
  async ready(name: string): Promise<void> {
    await until(`${name} is connected`, () => this.#rig.eventsOf(name).includes('hello'), START_MS).catch(
      (error: Error) => {
        throw new Error(`${error.message}; it printed: ${this.output(name)}`);
      },
    );
  }

  output(name: string): string {
    return this.#output.get(name) ?? '';
  }

  /** The processes of the agent's tree. */
  tree(name: string): { pid: number; command: string }[] {
    return marked(this.#rig.instance.id).filter((one) => one.worker === name);
  }

  close(): void {
    killAll(marked(this.#rig.instance.id).map(({ pid }) => pid));
  }
}

/** A room name of this test only. Because: a killed agent stays in its LiveKit room for a while. */
export function roomOf(rig: StandInRig, name: string): string {
  return `room-${rig.instance.id}-${name}`;
}

/** Assigns a real job to the agent. */
export async function assign(rig: StandInRig, livekit: LiveKit, name: string): Promise<void> {
  const room = roomOf(rig, name);
  rig.know(name, [room]);
  const identity = `agent-${name}`;
  const token = await livekit.token(room, { identity, kind: 'agent' });
  rig.assign(workerId(name), jobOf({ id: `AJ_${name}`, message: { room: { name: room } } }), {
    url: livekit.url,
    token,
  });
}

/** The identities of the agents in a room, as LiveKit lists them. */
export async function agentsIn(livekit: LiveKit, room: string): Promise<string[]> {
  const AGENT = 4;
  const participants = await livekit.rooms.listParticipants(room).catch(() => []);
  return participants.filter(({ kind }) => kind === AGENT).map(({ identity }) => identity);
}

/** The process with the call. Python forks it from the fork server. In JavaScript the idle process starts after it. */
export function jobProcessOf(tree: readonly { pid: number; command: string }[]): number {
  const pids = (part: string) => tree.filter(({ command }) => command.includes(part)).map(({ pid }) => pid);
  const job = pids('job_proc_lazy_main').at(0) ?? pids('forkserver').at(-1);
  if (job === undefined) throw new Error('there is no process of a job');
  return job;
}
