/** One version of a framework, on one LiveKit server: under LiveKit's own runner and under curfew. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { findFramework } from '../../scripts/framework-versions.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { freePorts } from '../support/lib/free-ports.ts';
import { until } from '../support/lib/wait.ts';
import { KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';
import { endWithThisProcess } from '../support/processes/keeper.ts';
import type { Scenario } from './scenarios.ts';
import type { Way } from './ways.ts';

const START_MS = 90_000;
const SETTLED_MS = 1500;
/** In the environment of both runners. An agent has its provider's keys from there. */
const WITNESSES = { OPENAI_API_KEY: 'sk-witness', CONFORMANCE_WITNESS: 'seen' };
/** The times of the agent of the usual shape. Shorter than in production, where no variable sets them. */
const TIMES = { PRODUCTION_TOOL_SECONDS: '2', PRODUCTION_SUMMARY_SECONDS: '3' };

const BROKEN = 'broken';
/** LiveKit's runner may end by these acts, so it serves no other call. */
const ENDS_RUNNER: ReadonlySet<Scenario['act']> = new Set(['term_main', 'restart_livekit']);

export interface StageOptions {
  /** As in `py-1.8.9`. */
  readonly version: string;
  /** The file of the agent in test/conformance/agents, without its extension. */
  readonly file?: string;
  readonly loop?: 'asyncio' | 'uvloop';
  readonly warm: number;
  /** Also a profile whose workers are forked. */
  readonly forked?: boolean;
}

/** A process of LiveKit's own runner, and its output. */
export interface OwnRunner {
  readonly agentName: string;
  readonly child: ChildProcess;
  output(): string;
}

export class Stage {
  readonly dir = mkdtempSync(join(tmpdir(), 'curfew-conf-'));
  readonly callers: Callers;
  readonly #runners: OwnRunner[] = [];
  readonly options: StageOptions;
  readonly livekit: LiveKit;
  daemon: Daemon | null = null;
  #shared: Promise<OwnRunner> | null = null;
  #curfew: Promise<Daemon> | null = null;

  private constructor(options: StageOptions, livekit: LiveKit) {
    this.options = options;
    this.livekit = livekit;
    this.callers = new Callers(livekit);
  }

  static async open(options: StageOptions): Promise<Stage> {
    const stage = new Stage(options, await LiveKit.start({ logLevel: 'info' }));
    stage.#placeAgent();
    return stage;
  }

  get isPython(): boolean {
    return this.options.version.startsWith('py-');
  }

  get #agentFile(): string {
    return join(this.dir, 'agent', this.isPython ? 'agent.py' : 'agent.mjs');
  }

  /** JavaScript finds its packages beside its file. */
  #placeAgent(): void {
    const { file = 'observer', version } = this.options;
    mkdirSync(join(this.dir, 'agent'));
    const source = join(ROOT, 'test/conformance/agents', `${file}${this.isPython ? '.py' : '.mjs'}`);
    copyFileSync(source, this.#agentFile);
    if (!this.isPython)
      symlinkSync(join(found(version), 'node_modules'), join(this.dir, 'agent', 'node_modules'));
  }

  get command(): [string, ...string[]] {
    const program = this.isPython ? found(this.options.version) : process.execPath;
    return [program, this.#agentFile, 'start'];
  }

  get #env(): Record<string, string> {
    const { loop = 'asyncio' } = this.options;
    return { ...WITNESSES, ...takenTimes(), OBSERVER_LOOP: loop };
  }

  /** Python's runner registers when a process is ready, or after the time that a process may take. */
  get #prewarmRaises(): Record<string, string> {
    const settings = this.isPython ? { initialize_process_timeout: 2 } : { initializeProcessTimeout: 2000 };
    return { OBSERVER_PREWARM: 'raises', OBSERVER_SETTINGS: JSON.stringify(settings) };
  }

  /** The time that two agents of the usual shape take for tool and summary, one after the other. */
  static takenMs(): number {
    return 2000 * Object.values(takenTimes()).reduce((sum, seconds) => sum + Number(seconds), 0);
  }

  /** LiveKit's own runner that serves many calls, as it does in production. */
  shared(): Promise<OwnRunner> {
    this.#shared ??= this.ownRunner('lk');
    return this.#shared;
  }

  runnerFor({ name, act, prewarmRaises }: Scenario): Promise<OwnRunner> {
    if (prewarmRaises) return this.ownRunner(`lk-${name}`, this.#prewarmRaises);
    return ENDS_RUNNER.has(act) ? this.ownRunner(`lk-${name}`) : this.shared();
  }

  async ownRunner(agentName: string, env: Record<string, string> = {}): Promise<OwnRunner> {
    const [command, ...args] = this.command;
    const { PATH = '', HOME = this.dir } = process.env;
    const [port = 0] = await freePorts(1);
    const child = spawn(command, args, {
      cwd: this.dir,
      env: {
        PATH,
        HOME,
        ...this.#env,
        OBSERVER_NAME: agentName,
        OBSERVER_PORT: String(port),
        LIVEKIT_URL: this.livekit.url,
        LIVEKIT_API_KEY: KEY,
        LIVEKIT_API_SECRET: SECRET,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    endWithThisProcess(child, 'group');
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    const runner = { agentName, child, output: () => output };
    this.#runners.push(runner);
    await until(
      `the runner of ${this.options.version} is registered`,
      () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${output}`);
        return output.includes('registered worker');
      },
      START_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message}; it printed: ${output.slice(-2000)}`);
    });
    // Race: LiveKit drops a job that comes before it has passed the registration on.
    await pause(SETTLED_MS);
    return runner;
  }

  /** curfew with a profile for each kind of worker. */
  curfew(): Promise<Daemon> {
    this.#curfew ??= this.#startCurfew();
    return this.#curfew;
  }

  async #startCurfew(): Promise<Daemon> {
    const dir = join(this.dir, 'curfew');
    const profile = {
      command: this.command,
      cwd: this.dir,
      protocol: 'livekit',
      // Because: on a busy machine an AgentSession needs more than a second to close itself after its caller.
      callers_left: '3s',
      start_timeout: '150s',
      agent_absent: '60s',
    };
    const config = {
      ...this.livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      limits: { sessions: 50, per_user: 50 },
      agents: {
        cold: { ...profile, agent_name: 'cold', env: { OBSERVER_NAME: 'cold' } },
        [BROKEN]: {
          ...profile,
          agent_name: BROKEN,
          agent_absent: '15s',
          env: { OBSERVER_NAME: BROKEN, ...this.#prewarmRaises },
        },
        ...(this.options.warm === 0
          ? {}
          : {
              warm: {
                ...profile,
                agent_name: 'warm',
                env: { OBSERVER_NAME: 'warm' },
                warm: this.options.warm,
              },
            }),
        ...(this.options.forked === true && {
          forked: { ...profile, agent_name: 'forked', env: { OBSERVER_NAME: 'forked' }, prefork: 'auto' },
        }),
      },
    };
    const daemon = new Daemon({ config, dir, env: this.#env });
    this.daemon = daemon;
    // Because: a busy host needs more than the bound of the helper to start a supervisor.
    await daemon.start().catch(() => undefined);
    await until(
      'the names are registered',
      async () => {
        const { body } = await daemon.get<{ jobs: { state: string }[] }>('/v1/capacity');
        return body.jobs.length > 0 && body.jobs.every(({ state }) => state === 'registered');
      },
      START_MS,
    );
    if (this.options.forked === true) await this.#startZygote(daemon);
    return daemon;
  }

  /** The first worker of an agent starts cold, and its zygote beside it. Some versions for JavaScript have nothing to share. */
  async #startZygote(daemon: Daemon): Promise<void> {
    const { body } = await daemon.dispatch({ room: 'zygote', agent: 'forked' });
    await until(
      'the zygote is ready',
      async () =>
        (await daemon.get<CapacityView>('/v1/capacity')).body.zygotes.some(
          ({ ready, cold }) => ready > 0 || cold?.includes('nothing to share'),
        ),
      START_MS,
    );
    await daemon.release(body.id);
    await daemon.ended(body.id, START_MS);
  }

  /** The profile under curfew, and the name under which LiveKit's dispatch finds it. */
  static agentName(way: Way, { prewarmRaises }: Scenario): string {
    if (way === 'livekit') return 'lk';
    return prewarmRaises === true ? BROKEN : (way.split('-')[1] ?? '');
  }

  async close(): Promise<void> {
    this.callers.kill();
    await this.daemon?.close();
    for (const { child } of this.#runners) endGroup(child);
    await this.livekit.close();
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group has ended.
  }
}

/** The environment's times win, for a run with the times of production. */
function takenTimes(): Record<string, string> {
  return Object.fromEntries(Object.entries(TIMES).map(([name, value]) => [name, process.env[name] ?? value]));
}

function found(version: string): string {
  const path = findFramework(version);
  if (path === null) throw new Error(`${version} is not installed: npm run conformance -- --only ${version}`);
  return path;
}
