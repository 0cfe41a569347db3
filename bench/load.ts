/** CPU and memory of a supervisor with many live calls. This process holds the control sockets of workers that only wait. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Daemon } from '../test/support/daemon/daemon.ts';
import { until } from '../test/support/lib/wait.ts';

const LOAD_MS = 15_000;
const BEAT_MS = 5_000;
/** Each worker writes its name and token to a file for this process, and waits. */
const STUB = [
  'sh',
  '-c',
  'echo "$CURFEW_WORKER $CURFEW_TOKEN" > "$BENCH_DIR/$$.new"; mv "$BENCH_DIR/$$.new" "$BENCH_DIR/$$"; exec sleep 100000',
];

interface Cost {
  readonly sessions: number;
  readonly cpuPercent: number;
  readonly rssMb: number;
  readonly apiMs: readonly number[];
}

export async function measureLoad(): Promise<string> {
  const few = await cost(200);
  const many = await cost(2000);
  const each = (one: Cost) => one.cpuPercent / one.sessions;
  const line = ({ sessions, cpuPercent, rssMb, apiMs }: Cost) => {
    const sorted = [...apiMs].sort((a, b) => a - b);
    const p99 = sorted[Math.floor(0.99 * sorted.length)] ?? Number.NaN;
    const figures = [
      `${cpuPercent.toFixed(1)} % of a core (goal at 2000: 10)`,
      `${rssMb.toFixed(0)} MB RSS (120)`,
      `API p99 ${p99.toFixed(1)} ms (5)`,
    ];
    return `${sessions} live sessions, a heartbeat every 5 s each: ${figures.join(', ')}`;
  };
  return `${line(few)}\n${line(many)}\ncost of a session at 2000 against 200: ${(each(many) / each(few)).toFixed(2)} (goal 1.1)`;
}

async function cost(sessions: number): Promise<Cost> {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-bench-'));
  const daemon = new Daemon({
    // The installed command sets the same.
    env: { NODE_OPTIONS: '--max-semi-space-size=4' },
    config: {
      log: { level: 'warn' },
      limits: { sessions: 5000, start_rate: '10000/s', per_user: 'off' },
      agents: {
        default: {
          command: STUB,
          protocol: 'curfew',
          start_timeout: '300s',
          env: { BENCH_DIR: dir },
          ladder: { aclose: '100ms', disconnect: '100ms' },
        },
      },
    },
  });
  const sockets: Socket[] = [];
  try {
    await daemon.start();
    for (let at = 0; at < sessions; at += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_, index) => daemon.dispatch({ room: `r${at + index}` })),
      );
    const files = () => readdirSync(dir).filter((name) => /^\d+$/.test(name));
    await until('every stub runs', () => files().length === sessions, 300_000);
    for (const name of files())
      sockets.push(
        hold(join(daemon.dir, 'state/control.sock'), readFileSync(join(dir, name), 'utf8').trim()),
      );
    const live = async () =>
      (await daemon.get<{ sessions: { live: number } }>('/v1/capacity')).body.sessions.live;
    await until('all are live', async () => (await live()) === sessions, 120_000);
    await pause(BEAT_MS);
    return await watch(daemon, sessions);
  } finally {
    for (const socket of sockets) socket.destroy();
    await daemon.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One worker's control connection: hello, ready, then heartbeats. `access`: the worker's name and token. */
function hold(path: string, access: string): Socket {
  const [worker, token] = access.split(' ');
  const socket = createConnection(path);
  const say = (message: object) => socket.write(`${JSON.stringify(message)}\n`);
  socket.on('error', () => undefined);
  socket.on('connect', () => say({ type: 'hello', v: 1, worker, token }));
  socket.once('data', () => {
    say({ type: 'ready' });
    const begin = setTimeout(() => {
      const beat = setInterval(() => say({ type: 'heartbeat' }), BEAT_MS);
      socket.on('close', () => clearInterval(beat));
    }, Math.random() * BEAT_MS);
    socket.on('close', () => clearTimeout(begin));
  });
  return socket;
}

async function watch(daemon: Daemon, sessions: number): Promise<Cost> {
  const from = { cpu: cpuMs(daemon.pid), at: performance.now() };
  const apiMs: number[] = [];
  while (performance.now() - from.at < LOAD_MS) {
    const asked = performance.now();
    await daemon.get('/v1/sessions?limit=1');
    apiMs.push(performance.now() - asked);
    await pause(50);
  }
  const cpuPercent = (100 * (cpuMs(daemon.pid) - from.cpu)) / (performance.now() - from.at);
  const rssMb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1024;
  return { sessions, cpuPercent, rssMb, apiMs };
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
