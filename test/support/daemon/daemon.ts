/** A real `curfew serve` in its own process, with its own state directory. Tests send requests over its Unix socket. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { globSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { stringify } from 'yaml';
import type { SessionView } from '../../../src/api/session-schemas.ts';
import { until } from '../lib/wait.ts';
import type { Keeper } from '../processes/keeper.ts';
import { keep } from '../processes/keeper.ts';
import { recorded } from '../sessions/recorded-sessions.ts';

export const ROOT = join(import.meta.dirname, '../../..');
/** The bundle, which build.ts builds before the tests. */
export const MAIN = join(ROOT, 'dist', 'main.js');

/** The compile cache of all daemons of the tests. Without it, a start takes twice as long. */
const COMPILE_CACHE = join(ROOT, '.cache', 'compile');
const BASE_ENV = {
  PATH: process.env.PATH ?? '',
  HOME: process.env.HOME ?? '/',
  NODE_COMPILE_CACHE: COMPILE_CACHE,
};

export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly body: T;
  readonly headers: Record<string, string | string[] | undefined>;
}

export interface DaemonOptions {
  /** Merged over a config that sets the socket and the state directory. The agents come from here. */
  readonly config: Record<string, unknown>;
  readonly env?: Record<string, string>;
  readonly dir?: string;
  /** The program of each start. The default is the build of this tree. */
  readonly main?: string;
  /** Comes before the command line of the supervisor, such as `unshare`. */
  readonly wrap?: readonly string[];
}

/** Cleans up after the supervisor in folder `$1`, also after a killed one: the process, its workers by their mark, then the folder. */
const END_ALL = `
named="TEST_DAEMON=$1$"
instance=$(cat "$1/state/instance.id" 2>/dev/null)
[ -z "$instance" ] || named="$named|CURFEW_WORKER=$instance/"
for round in 1 2 3; do
  for environ in $(grep -lszE "^($named)" /proc/[0-9]*/environ); do
    pid=\${environ#/proc/}
    kill -s KILL "\${pid%/environ}" 2>/dev/null
  done
done
rm -rf "$1"`;

/** The number of lines that a failed test prints from each log. */
const TAIL_LINES = 40;

export class Daemon {
  /** The daemons that were made since the last test ended, and those that still run. */
  static readonly recent = new Set<Daemon>();
  readonly dir: string;
  readonly socket: string;
  readonly configPath: string;
  #child: ChildProcess | null = null;
  #exit: Promise<number | null> = Promise.resolve(null);
  #stderr = '';
  #stdout = '';
  /** The logs of its workers at the close, which deletes the files. */
  #workersSaid: string | null = null;
  #agent: Agent;
  readonly #keeper: Keeper;
  readonly #env: Record<string, string>;
  readonly #main: string;
  readonly #wrap: readonly string[];

  constructor({ config, env = {}, dir, main = MAIN, wrap = [] }: DaemonOptions) {
    Daemon.recent.add(this);
    this.dir = dir ?? mkdtempSync(join(tmpdir(), 'curfew-e2e-'));
    mkdirSync(this.dir, { recursive: true });
    this.#keeper = keep(END_ALL, [this.dir]);
    this.socket = join(this.dir, 'c.sock');
    this.configPath = join(this.dir, 'config.yaml');
    this.#env = env;
    this.#main = main;
    this.#wrap = wrap;
    const base = { listen: { socket: this.socket, http: 'off' }, state_dir: join(this.dir, 'state') };
    writeFileSync(this.configPath, stringify({ ...base, ...config, ...(main === MAIN && quiet(config)) }));
    this.#agent = new Agent({ connect: { socketPath: this.socket }, connections: 128 });
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** The log of the supervisor. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** `env` holds for this start only. */
  async start(env: Record<string, string> = {}): Promise<this> {
    const child = this.#spawn(env);
    await until(
      'the daemon answers',
      async () => child.exitCode !== null || (await this.get('/healthz')).status === 200,
      20_000,
    );
    if (child.exitCode !== null) throw new Error(`the daemon exited with ${child.exitCode}: ${this.#stderr}`);
    return this;
  }

  /** Starts the supervisor and waits until it exits. Ends it when it stays. */
  async startToDie(env: Record<string, string>): Promise<void> {
    const child = this.#spawn(env);
    const isOver = async () =>
      child.exitCode !== null ||
      child.signalCode !== null ||
      (await this.get('/healthz').catch(() => null))?.status === 200;
    await until('the daemon dies or answers', isOver, 20_000);
    child.kill('SIGKILL');
    await this.exited();
  }

  #spawn(env: Record<string, string>): ChildProcess {
    const serve = [process.execPath, this.#main, 'serve', '--config', this.configPath];
    const [program = '', ...args] = [...this.#wrap, ...serve];
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...BASE_ENV, TEST_DAEMON: this.dir, ...this.#env, ...env },
    });
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.#exit = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    return child;
  }

  /** Sends SIGTERM and returns the exit code. */
  async stop(boundMs = 60_000): Promise<number | null> {
    if (this.#child === null) return null;
    this.#child.kill('SIGTERM');
    return this.exited(boundMs);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async exited(boundMs = 60_000): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    await until('the daemon exits', () => child.exitCode !== null || child.signalCode !== null, boundMs);
    return this.#exit;
  }

  /** Ends all processes and removes the folder, also after a failed test. */
  async close(): Promise<void> {
    if (this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null)
      await this.stop().catch(() => undefined);
    await this.#agent.destroy();
    this.#workersSaid = this.#readWorkers();
    await this.#keeper.end();
  }

  get isClosed(): boolean {
    return this.#workersSaid !== null;
  }

  /** The last lines of the logs of the supervisor and its workers. */
  said(): string {
    const own = `${this.dir}:\n${tail(this.#stdout)}\n${tail(this.#stderr)}`;
    return `${own}\n${this.#workersSaid ?? this.#readWorkers()}`;
  }

  /** The output of its workers so far, one worker after the other. */
  workerLogs(): string {
    return this.#logs()
      .map(({ text }) => text)
      .join('\n');
  }

  #readWorkers(): string {
    return this.#logs()
      .map(({ path, text }) => `${path}:\n${tail(text)}`)
      .join('\n');
  }

  #logs(): { path: string; text: string }[] {
    return globSync(join(this.dir, 'state/workers/*/log'))
      .filter((path) => lstatSync(path).isFile() && lstatSync(path).size > 0)
      .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
  }

  async call<T = Record<string, unknown>>(
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    body?: unknown,
  ): Promise<Answer<T>> {
    const answer = await request(`http://curfew${path}`, {
      method,
      dispatcher: this.#agent,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await answer.body.text();
    const isText = String(answer.headers['content-type']).startsWith('text/');
    return {
      status: answer.statusCode,
      headers: answer.headers,
      body: (text === '' ? {} : isText ? text : JSON.parse(text)) as T,
    };
  }

  get<T = Record<string, unknown>>(path: string): Promise<Answer<T>> {
    return this.call<T>('GET', path);
  }

  dispatch(body: Record<string, unknown>): Promise<Answer<SessionView>> {
    return this.call<SessionView>('POST', '/v1/sessions', body);
  }

  async session(id: string): Promise<SessionView> {
    return (await this.get<SessionView>(`/v1/sessions/${id}`)).body;
  }

  async release(id: string): Promise<void> {
    await this.call('POST', `/v1/sessions/${id}/release`, {});
  }

  reaches(id: string, states: readonly string[], boundMs = 30_000): Promise<SessionView> {
    return this.becomes(id, states.join(' or '), (seen) => states.includes(seen.state), boundMs);
  }

  /** Waits until the session fits the condition and returns it. */
  becomes(
    id: string,
    what: string,
    isSo: (seen: SessionView) => boolean,
    boundMs = 30_000,
  ): Promise<SessionView> {
    let last: SessionView | null = null;
    return until(
      `session ${id} is ${what}`,
      async () => {
        last = await this.session(id);
        return isSo(last) ? last : null;
      },
      boundMs,
    ).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : error}; it is ${JSON.stringify(last)}`);
    });
  }

  /** Waits until the next worker of the session runs, after this number of restarts. */
  replaced(id: string, restarts: number, boundMs = 30_000): Promise<SessionView> {
    return this.becomes(
      id,
      `with worker ${restarts + 1}`,
      (seen) => seen.restarts === restarts && seen.pid !== null,
      boundMs,
    );
  }

  ended(id: string, boundMs = 30_000): Promise<SessionView> {
    return this.reaches(id, ['released', 'failed'], boundMs);
  }

  /** Waits until the session has this state on disk. An answer can be ahead of the record, and a kill leaves only the record. */
  recorded(id: string, state: string): Promise<void> {
    return recorded(this.stateDir, id, state);
  }

  get stateDir(): string {
    return join(this.dir, 'state');
  }

  instanceId(): string {
    return readFileSync(join(this.stateDir, 'instance.id'), 'utf8').trim();
  }
}

/** Tests run on a machine at full load, which is not their subject. Version 0.1.0 does not know these keys. */
function quiet({ limits, logs }: Record<string, unknown>): Record<string, unknown> {
  // The tests may run in a container, where logs are forwarded by default.
  return {
    logs: logs ?? { forward: 'off' },
    limits: { cpu: 'off', memory_free: 'off', ...(limits as object | undefined) },
  };
}

function tail(text: string): string {
  return text.split('\n').slice(-TAIL_LINES).join('\n');
}
