/** A machine with its own systemd and curfew installed, booted by systemd-nspawn on its own file tree. */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { inject } from 'vitest';
import { stringify } from 'yaml';
import type { SessionView } from '../../../src/api/session-schemas.ts';
import { until } from '../lib/wait.ts';
import type { Keeper } from '../processes/keeper.ts';
import { keep } from '../processes/keeper.ts';
import { recorded } from '../sessions/recorded-sessions.ts';
import { ROOT } from './daemon.ts';

/** Removes a machine. Arguments: its folder, then its cgroups, v2 first. The kernel ends the processes inside and frees a cgroup a moment later. */
const TEAR_DOWN = `
folder=$1
shift
[ ! -d "$1" ] || echo 1 >"$1/cgroup.kill"
umount -l "$folder/root" 2>/dev/null
rm -rf "$folder"
left=100
for group; do
  while [ -d "$group" ]; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [ ! -d "$group" ] || sleep 0.1
    left=$((left - 1))
    [ "$left" -gt 0 ] || exit 1
  done
done`;
const PATH = '/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin';
const STATE = '/var/lib/curfew';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface MachineOptions {
  /** Read-only folders of the host: path outside → path inside. */
  readonly binds?: Readonly<Record<string, string>>;
  /** True: the machine has the host's network, to reach a server of a test. Otherwise it has none. */
  readonly network?: boolean;
}

/** The path of the project inside a machine with `PROJECT_BINDS`. */
export const PROJECT = '/srv/project';
const MODULES = realpathSync(join(ROOT, 'node_modules'));
export const PROJECT_BINDS: Readonly<Record<string, string>> = {
  [ROOT]: PROJECT,
  // For node_modules that is a link to another folder.
  ...(MODULES.startsWith(ROOT) ? {} : { [MODULES]: MODULES }),
};

export class Machine {
  readonly #dir = mkdtempSync(join(tmpdir(), 'curfew-machine-'));
  readonly #name = basename(this.#dir).replaceAll(/[^A-Za-z0-9-]/g, '');
  readonly root = join(this.#dir, 'root');
  #nspawn: ChildProcess | null = null;
  #console = '';

  readonly #options: MachineOptions;
  readonly #keeper: Keeper;

  constructor(options: MachineOptions = {}) {
    this.#options = options;
    this.#keeper = keep(TEAR_DOWN, [this.#dir, ...cgroupFolders(this.#name)]);
    for (const name of ['root', 'upper', 'work']) mkdirSync(join(this.#dir, name));
    const layers = [
      `lowerdir=${inject('installed')}:${inject('debian')}`,
      `upperdir=${join(this.#dir, 'upper')}`,
      `workdir=${join(this.#dir, 'work')}`,
    ];
    host('mount', ['-t', 'overlay', 'overlay', '-o', layers.join(','), this.root]);
  }

  /** Boots and waits until systemd has no more jobs. */
  async boot(): Promise<this> {
    const [unified = ''] = cgroupFolders(this.#name);
    const args = [
      ...[
        '-D',
        this.root,
        '--boot',
        '--register=no',
        '--keep-unit',
        '--link-journal=no',
        '--resolv-conf=off',
      ],
      ...['--timezone=off', `--machine=${this.#name}`, '--console=pipe'],
      ...(this.#options.network === true ? [] : ['--private-network']),
      ...Object.entries(this.#options.binds ?? {}).map(([from, to]) => `--bind-ro=${from}:${to}`),
    ];
    // The process first moves into its own cgroup, because systemd must find an empty one.
    const script = 'mkdir -p "$0" && echo $$ >"$0/cgroup.procs" && exec systemd-nspawn "$@"';
    const child = spawn('sh', ['-c', script, unified, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH, UNIFIED_CGROUP_HIERARCHY: '1' },
    });
    this.#nspawn = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#console += chunk.toString();
      });
    await until(
      'systemd is up',
      async () => {
        if (this.isOff) throw new Error(this.#console);
        return /^(running|degraded)/.test((await this.run('systemctl', 'is-system-running')).out);
      },
      30_000,
    );
    await this.must('systemd-sysusers');
    await this.must('systemd-tmpfiles', '--create', 'curfew.conf');
    return this;
  }

  get isOff(): boolean {
    return this.#nspawn === null || this.#nspawn.exitCode !== null || this.#nspawn.signalCode !== null;
  }

  /** Runs a command inside as root. */
  run(...command: readonly string[]): Promise<Ran> {
    const args = ['-t', String(this.#leader()), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', ...command];
    return new Promise((resolve) => {
      const options = { env: { PATH }, timeout: 60_000, killSignal: 'SIGKILL' as const };
      execFile('nsenter', args, options, (error, out, err) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, out, err });
      });
    });
  }

  /** Runs a command inside and returns its output. Rejects when the command fails. */
  async must(...command: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...command);
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${out}${err}`);
    return out.trim();
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  /** Writes curfew's config: one agent that sleeps, no LiveKit. */
  configure(more: Record<string, unknown> = {}): void {
    const base = {
      listen: { socket: '/run/curfew/curfew.sock', http: 'off' },
      state_dir: STATE,
      limits: { start_rate: '1000/s', cpu: 'off', memory_free: 'off' },
      agents: { default: { command: ['sleep', '1000'] } },
    };
    this.write('/etc/curfew/curfew.yaml', stringify({ ...base, ...more }));
  }

  /** A property of curfew.service. */
  async show(property: string, unit = 'curfew.service'): Promise<string> {
    return this.must('systemctl', 'show', '-P', property, unit);
  }

  async journal(unit = 'curfew.service'): Promise<string> {
    return this.must('journalctl', '-o', 'cat', '--no-pager', '-u', unit);
  }

  /** Dispatches a call and waits until it is live, also on disk, so that a test can kill the supervisor next. */
  async dispatch(room: string, agent = 'default'): Promise<SessionView> {
    const id = await this.must('curfew', 'dispatch', '--room', room, '--agent', agent, '--wait', 'live');
    await recorded(this.stateDir, id, 'live');
    return this.session(id);
  }

  /** The state directory, as a path of the host. */
  get stateDir(): string {
    return join(this.root, STATE);
  }

  async session(id: string): Promise<SessionView> {
    return JSON.parse(await this.must('curfew', '--json', 'show', id)) as SessionView;
  }

  /** True while a process inside runs. A zombie does not run. */
  async runs(pid: number | null): Promise<boolean> {
    const { code, out } = await this.run('ps', '-o', 'stat=', '-p', String(pid));
    return code === 0 && !out.startsWith('Z');
  }

  async powerOff(): Promise<void> {
    await this.run('systemctl', 'poweroff');
    await until('the machine is off', () => this.isOff, 60_000);
  }

  /** Ends all processes inside and removes the machine, also after a failed test. */
  async close(): Promise<void> {
    await this.#keeper.end();
  }

  /** The pid outside of the systemd inside. */
  #leader(): number {
    const pid = this.#nspawn?.pid ?? 0;
    const [leader = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    if (leader === '') throw new Error(`the machine has not booted: ${this.#console}`);
    return Number(leader);
  }
}

function host(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
}

/** The cgroups of a machine of that name: in v2, then in systemd's own v1 hierarchy if there is one. */
function cgroupFolders(name: string): string[] {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const unified = mounts.filter(([, , type]) => type === 'cgroup2');
  const named = mounts.filter(
    ([, , type, options]) => type === 'cgroup' && options?.includes('name=systemd'),
  );
  return [...unified, ...named].map(([, path = '']) => join(path, name));
}
