/**
 * pm2 and supervisord next to curfew, with the same program: a start, a kill of the program, and a kill of the manager.
 * The first run installs both into .cache/.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Agent, request } from 'undici';
import type { SessionList } from '../src/api/session-schemas.ts';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { isAlive, killAll } from '../test/support/processes/test-processes.ts';
import type { Took } from './warm.ts';

const FOLDER = join(ROOT, '.cache/peers');
const SUPERVISOR = join(FOLDER, 'supervisor/bin');
/** The last file of an installation. If it is missing, the installation is not complete. */
const COMPLETE = join(FOLDER, '.complete');
const CHILDREN = 20;
/** Long enough for a restarted manager to start the programs that it believes to be missing. */
const DOUBLING_MS = 5_000;
/** Each start appends its pid and its start time in milliseconds. */
const PROGRAM = `file=\${1:-$BENCH_DIR/$CURFEW_ROOM}
echo "$$ $(date +%s%3N)" >> "$file"
exec sleep 100000
`;

interface Manager {
  readonly name: string;
  start(child: string): Promise<unknown>;
  /** Kills the manager and starts it again. */
  crash(): Promise<void>;
  /** The number of programs that the manager reports as running. */
  listed(): Promise<number>;
  close(): Promise<void>;
}

/** Rejects when they cannot be installed. */
export async function measureManagers(): Promise<{ took: Took[]; crashes: string[] }> {
  install();
  const [took, crashes]: [Took[], string[]] = [[], []];
  for (const make of [pm2, supervisord, curfew]) {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
    writeFileSync(join(dir, 'program.sh'), PROGRAM);
    mkdirSync(join(dir, 'ran'));
    const manager = await make(dir);
    try {
      took.push(...(await starts(manager, dir)));
      crashes.push(await measureManagerCrash(manager, dir));
    } finally {
      await manager.close();
      killAll(pidsIn(dir));
      rmSync(dir, { recursive: true, force: true });
    }
  }
  return { took, crashes };
}

function install(): void {
  if (existsSync(COMPLETE)) return;
  const run = (command: string, args: readonly string[]) => {
    const { status } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
    if (status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} ended with ${status}`);
  };
  mkdirSync(FOLDER, { recursive: true });
  run('npm', ['install', '--prefix', FOLDER, '--no-audit', '--no-fund', 'pm2@7.0.4']);
  run('python3', ['-m', 'venv', join(FOLDER, 'supervisor')]);
  run(join(SUPERVISOR, 'pip'), ['install', '--quiet', 'supervisor==4.2.5', 'setuptools<81']);
  writeFileSync(COMPLETE, '');
}

/** One program at a time: the start request, then a `kill -9`, if the manager restarts programs. */
async function starts(manager: Manager, dir: string): Promise<Took[]> {
  const [started, replaced]: [number[], number[]] = [[], []];
  for (let child = 0; child < CHILDREN; child++) {
    const askedMs = Date.now();
    await manager.start(`p${child}`);
    const { pid, atMs } = await ran(dir, `p${child}`, 0);
    started.push(atMs - askedMs);
    if (manager.name === 'curfew') continue;
    const killedMs = Date.now();
    process.kill(pid, 'SIGKILL');
    replaced.push((await ran(dir, `p${child}`, 1)).atMs - killedMs);
  }
  const start = { what: `${manager.name}: start request → running`, ms: started, goal: '' };
  const again = { what: `${manager.name}: kill -9 → the next one runs`, ms: replaced, goal: '' };
  return replaced.length === 0 ? [start] : [start, again];
}

async function measureManagerCrash(manager: Manager, dir: string): Promise<string> {
  const alive = () => pidsIn(dir).filter(isAlive).length;
  await manager.crash();
  await until('it lists its children', async () => (await manager.listed()) === CHILDREN, 60_000);
  await until('some are doubled', () => alive() > CHILDREN, DOUBLING_MS).catch(() => undefined);
  await until('it has settled', async () => (await manager.listed()) === CHILDREN, 60_000);
  return `${manager.name}: killed and started again with ${CHILDREN} children: ${alive()} alive, ${await manager.listed()} listed`;
}

async function ran(dir: string, child: string, nth: number): Promise<{ pid: number; atMs: number }> {
  const path = join(dir, 'ran', child);
  const line = await until('it runs', () => (existsSync(path) ? linesOf(path)[nth] : null), 30_000);
  const [pid = 0, atMs = 0] = line.split(' ').map(Number);
  return { pid, atMs };
}

function linesOf(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').filter(Boolean);
}

function pidsIn(dir: string): number[] {
  const ranIn = join(dir, 'ran');
  return readdirSync(ranIn).flatMap((child) =>
    linesOf(join(ranIn, child)).map((line) => Number.parseInt(line, 10)),
  );
}

async function curfew(dir: string): Promise<Manager> {
  const daemon = new Daemon({
    config: {
      log: { level: 'warn' },
      limits: { sessions: 100, start_rate: '1000/s', per_user: 'off' },
      agents: {
        default: { command: ['/bin/sh', join(dir, 'program.sh')], env: { BENCH_DIR: join(dir, 'ran') } },
      },
    },
  });
  await daemon.start();
  return {
    name: 'curfew',
    start: (room) => daemon.dispatch({ room }),
    crash: async () => {
      daemon.signal('SIGKILL');
      await daemon.exited();
      await daemon.start();
    },
    listed: async () =>
      (await daemon.get<SessionList>('/v1/sessions?state=live&limit=100')).body.sessions.length,
    close: () => daemon.close(),
  };
}

interface Pm2 {
  connect(done: (error: unknown) => void): void;
  disconnect(): void;
  start(options: object, done: (error: unknown) => void): void;
}

/** Starts use pm2's programming interface, because its command line takes a third of a second. The rest uses the command line. */
async function pm2(dir: string): Promise<Manager> {
  const home = join(dir, 'pm2');
  process.env.PM2_HOME = home;
  const api = createRequire(join(FOLDER, 'package.json'))('pm2') as Pm2;
  const command = join(FOLDER, 'node_modules/pm2/bin/pm2');
  const run = (word: string) =>
    spawnSync(process.execPath, [command, word], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' })
      .stdout;
  await promisify(api.connect.bind(api))();
  const options = { script: '/bin/sh', interpreter: 'none' };
  return {
    name: 'pm2',
    start: (name) => {
      const args = [join(dir, 'program.sh'), join(dir, 'ran', name)];
      return promisify(api.start.bind(api))({ ...options, name, args });
    },
    crash: async () => {
      run('save');
      api.disconnect();
      const pid = Number(readFileSync(join(home, 'pm2.pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
      await until('it is gone', () => !isAlive(pid));
      run('resurrect');
    },
    listed: async () => {
      const text = run('jlist');
      const all = JSON.parse(text.slice(text.indexOf('[{'))) as { pm2_env: { status: string } }[];
      return all.filter((one) => one.pm2_env.status === 'online').length;
    },
    close: async () => {
      api.disconnect();
      run('kill');
    },
  };
}

async function supervisord(dir: string): Promise<Manager> {
  const config = (autostart: boolean) =>
    [
      `[unix_http_server]\nfile=${dir}/s.sock`,
      `[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=${dir}/s.pid\nchildlogdir=${dir}`,
      '[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface',
      ...Array.from(
        { length: CHILDREN },
        (_, child) =>
          `[program:p${child}]\ncommand=/bin/sh ${dir}/program.sh ${dir}/ran/p${child}\nautostart=${autostart}\nautorestart=true`,
      ),
    ].join('\n');
  const agent = new Agent({ connect: { socketPath: join(dir, 's.sock') } });
  const call = async (method: string, params = '') => {
    const body = `<?xml version="1.0"?><methodCall><methodName>supervisor.${method}</methodName><params>${params}</params></methodCall>`;
    const options = {
      method: 'POST',
      dispatcher: agent,
      headers: { 'content-type': 'text/xml' },
      body,
    } as const;
    const text = await (await request('http://supervisord/RPC2', options)).body.text();
    if (text.includes('<fault>')) throw new Error(text);
    return text;
  };
  let child: ChildProcess | null = null;
  const begin = async (autostart: boolean) => {
    writeFileSync(join(dir, 's.conf'), config(autostart));
    child = spawn(join(SUPERVISOR, 'supervisord'), ['-c', join(dir, 's.conf')], { stdio: 'ignore' });
    await until('supervisord answers', async () => (await call('getState')).includes('RUNNING'));
  };
  const end = async (signal: NodeJS.Signals) => {
    child?.kill(signal);
    await until('supervisord is gone', () => child?.exitCode !== null || child.signalCode !== null, 60_000);
  };
  await begin(false);
  return {
    name: 'supervisord',
    start: (name) =>
      call(
        'startProcess',
        `<param><value><string>${name}</string></value></param><param><value><boolean>0</boolean></value></param>`,
      ),
    // With autostart, as for programs that must run.
    crash: async () => {
      await end('SIGKILL');
      await begin(true);
    },
    listed: async () => (await call('getAllProcessInfo')).split('<string>RUNNING</string>').length - 1,
    close: async () => {
      await end('SIGTERM');
      await agent.destroy();
    },
  };
}
