/**
 * `npm run bench [-- starts|burst|many|sweep|jobs|warm|reload|density|density-js|next|crash|peers|load]`: each figure next to its raw limit, measured in
 * the same run. The output shows goals; nothing asserts them.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Daemon, ROOT } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';
import { measureBurst } from './burst.ts';
import { measureCrash } from './crash.ts';
import { measureDensity, measureDensityOfNode } from './density.ts';
import { measureAssignment } from './jobs.ts';
import { measureLoad as measureFullHost } from './load.ts';
import { measureManagers } from './managers.ts';
import { manyDaemon, measureAdoption, measureRelease } from './many.ts';
import { measureNextAgent } from './next-agent.ts';
import { measurePeers } from './peers.ts';
import { measureReload } from './reload.ts';
import { measureSweep } from './sweep.ts';
import type { Took } from './warm.ts';
import { measureHttp, measureJobs, measureJoin } from './warm.ts';

const ROUNDS = 60;
const SESSIONS = 500;
const LOAD_MS = 10_000;
const PLAIN = join(ROOT, 'bench/first-message.mjs');
const BEATS = join(ROOT, 'bench/beats.py');

interface Row {
  readonly what: string;
  readonly p50: string;
  readonly p95: string;
  readonly p99: string;
  readonly beside: string;
  readonly goal: string;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

function row(what: string, curfew: readonly number[], raw: readonly number[] | null, goal: string): Row {
  const text = (values: readonly number[], share: number) => `${quantile(values, share).toFixed(1)} ms`;
  const beside = raw === null ? '' : `raw ${text(raw, 0.5)} / ${text(raw, 0.95)}`;
  return { what, p50: text(curfew, 0.5), p95: text(curfew, 0.95), p99: text(curfew, 0.99), beside, goal };
}

/** Alternates raw spawns and dispatches, so that both run under the same load of the machine. */
async function measureStarts(daemon: Daemon): Promise<Row[]> {
  const running = { curfew: [] as number[], raw: [] as number[] };
  const message = { curfew: [] as number[], raw: [] as number[] };
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const socketPath = join(dir, 'm.sock');
  let arrived: () => void = () => undefined;
  const server = createServer((socket) => socket.on('data', () => arrived()).on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  for (let round = 0; round < ROUNDS; round++) {
    const heardRaw = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const rawFrom = performance.now();
    const child = spawn(process.execPath, [PLAIN], {
      stdio: 'ignore',
      detached: true,
      env: { BENCH_SOCKET: socketPath },
    });
    await new Promise((resolve) => child.once('spawn', resolve));
    running.raw.push(performance.now() - rawFrom);
    await heardRaw;
    message.raw.push(performance.now() - rawFrom);
    child.kill('SIGKILL');
    const heard = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { body } = await daemon.dispatch({ room: `start ${round}`, metadata: { socket: socketPath } });
    const from = performance.now();
    await heard;
    message.curfew.push(performance.now() - from);
    const { startedAt, liveAt } = await daemon.session(body.id);
    running.curfew.push(Date.parse(liveAt ?? '') - Date.parse(startedAt ?? ''));
    await daemon.release(body.id);
    await daemon.ended(body.id);
  }
  server.close();
  rmSync(dir, { recursive: true, force: true });
  return [
    row('dispatch accepted → process running', running.curfew, running.raw, 'raw + 3 ms at p50'),
    row('dispatch accepted → its first message', message.curfew, message.raw, '1.10 × raw at p95'),
  ];
}

async function measureKill(daemon: Daemon): Promise<Row> {
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { body } = await daemon.dispatch({ room: `kill ${round}`, agent: 'sleeper' });
    const { pid } = await daemon.reaches(body.id, ['live']);
    const from = Date.now();
    process.kill(pid ?? 0, 'SIGKILL');
    const ended = await daemon.ended(body.id);
    took.push(Date.parse(ended.evidence?.at ?? '') - from);
  }
  return row('SIGKILL of a worker → recorded', took, null, 'p99 ≤ 10 ms (1 ms resolution)');
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function measureLoad(daemon: Daemon): Promise<string> {
  const ids: string[] = [];
  for (let at = 0; at < SESSIONS; at += 50) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        daemon.dispatch({ room: `load ${at + index}`, agent: 'beats' }),
      ),
    );
    ids.push(...answers.map((one) => one.body.id));
  }
  await until(
    `${SESSIONS} are live`,
    async () =>
      ((await daemon.get<{ sessions: { live: number } }>('/v1/capacity')).body.sessions.live ?? 0) >=
      SESSIONS,
    120_000,
  );
  const from = { cpu: cpuMs(daemon.pid), at: performance.now() };
  const api: number[] = [];
  while (performance.now() - from.at < LOAD_MS) {
    const asked = performance.now();
    await daemon.get('/v1/capacity');
    api.push(performance.now() - asked);
    await pause(100);
  }
  const share = (100 * (cpuMs(daemon.pid) - from.cpu)) / (performance.now() - from.at);
  const line = `${SESSIONS} live sessions, one heartbeat a second each: ${share.toFixed(1)} % of a core, ${rssMb(daemon.pid).toFixed(0)} MB RSS, API p99 ${quantile(api, 0.99).toFixed(1)} ms`;
  await daemon.call('POST', '/v1/sessions/release', { all: true });
  await until(
    'all have ended',
    async () =>
      Object.values(
        (await daemon.get<{ sessions: Record<string, number> }>('/v1/capacity')).body.sessions,
      ).every((count) => count === 0),
    120_000,
  );
  return line;
}

function print(rows: readonly Row[]): void {
  const titles: Row = {
    what: 'what',
    p50: 'p50',
    p95: 'p95',
    p99: 'p99',
    beside: 'beside (p50 / p95)',
    goal: 'goal',
  };
  for (const { what, p50, p95, p99, beside, goal } of [titles, ...rows]) {
    console.log(
      `${what.padEnd(40)} ${p50.padStart(9)} ${p95.padStart(9)} ${p99.padStart(9)}  ${beside.padEnd(24)} ${goal}`,
    );
  }
}

async function starts(): Promise<void> {
  const daemon = new Daemon({
    config: {
      log: { level: 'warn' },
      limits: { sessions: 2000, start_rate: '10000/s', per_user: 'off' },
      agents: {
        default: { command: [process.execPath, PLAIN] },
        sleeper: { command: ['sleep', '1000'] },
        beats: {
          command: ['python3', '-S', '-E', BEATS],
          protocol: 'curfew',
          start_timeout: '120s',
          ladder: { aclose: '100ms', disconnect: '100ms' },
        },
      },
    },
  });
  try {
    await daemon.start();
    print([...(await measureStarts(daemon)), await measureKill(daemon)]);
    console.log(await measureLoad(daemon));
  } finally {
    await daemon.close();
  }
}

async function many(): Promise<void> {
  const daemon = await manyDaemon();
  try {
    console.log(await measureAdoption(daemon));
    console.log(await measureRelease(daemon));
  } finally {
    await daemon.close();
  }
}

const rowOf = ({ what, ms, rawMs, goal }: Took) => row(what, ms, rawMs ?? null, goal);

async function warm(): Promise<void> {
  print([
    rowOf(await measureHttp({ warm: true })),
    ...(await measureJobs()).map(rowOf),
    rowOf(await measureJoin()),
    rowOf(await measureHttp({ warm: false })),
  ]);
}

async function peers(): Promise<void> {
  const took = await measurePeers();
  if (took === null) console.log('livekit-agents is not installed; `npm test` installs it');
  const managers = await measureManagers();
  print([...(took ?? []), ...managers.took].map(rowOf));
  for (const line of managers.crashes) console.log(line);
}

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  starts,
  burst: async () => print([rowOf(await measureBurst())]),
  many,
  sweep: async () => console.log(await measureSweep()),
  warm,
  reload: async () => console.log(await measureReload()),
  density: async () => console.log(await measureDensity()),
  'density-js': async () => console.log(await measureDensityOfNode()),
  next: async () => console.log(await measureNextAgent()),
  crash: async () => print((await measureCrash()).map(rowOf)),
  peers,
  load: async () => console.log(await measureFullHost()),
  jobs: async () => console.log(await measureAssignment()),
};
const wanted = process.argv.slice(2).map((one) => one.replace(/^--/, ''));
const unknown = wanted.filter((name) => !Object.hasOwn(PARTS, name));
if (unknown.length > 0) {
  console.error(
    `bench: there is no part ${unknown.join(', ')}; the parts are ${Object.keys(PARTS).join(', ')}`,
  );
  process.exit(2);
}
console.log(`${cpus().length} cores, Node ${process.version}, ${ROUNDS} rounds`);
for (const [name, part] of Object.entries(PARTS))
  if (wanted.length === 0 || wanted.includes(name)) await part();
