/** One cleanup scan of thousands of processes: CPU time and the longest block of the event loop, next to `ps`. */
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { createProcessTable } from '../src/adapters/cleanup/host-processes.ts';
import { createClock } from '../src/adapters/telemetry/boot-clock.ts';
import { instanceId, workerId } from '../src/core/ids.ts';
import { ROOT } from '../test/support/daemon/daemon.ts';

const PROCESSES = 5000;
const ROUNDS = 10;

export async function measureSweep(): Promise<string> {
  const instance = instanceId(randomUUID());
  const keeper = await keep(instance);
  const table = createProcessTable({
    instanceId: instance,
    clock: createClock(),
    cgroups: null,
    livekitUrl: null,
  });
  const [cpu, blocked, wall, ps]: number[][] = [[], [], [], []];
  let scanned = 0;
  const first = process.cpuUsage();
  await table.scan();
  const firstMs = (process.cpuUsage(first).user + process.cpuUsage(first).system) / 1000;
  // The second scan knows the marks of old processes from the first one.
  await table.scan();
  for (let round = 0; round < ROUNDS; round++) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await pause(20);
    delay.reset();
    const [from, at] = [process.cpuUsage(), performance.now()];
    const scan = await table.scan();
    scan.treeOf(workerId('s.1'), null);
    const used = process.cpuUsage(from);
    wall?.push(performance.now() - at);
    await pause(5);
    delay.disable();
    scanned = scan.scanned;
    cpu?.push((used.user + used.system) / 1000);
    blocked?.push(delay.max / 1e6);
    ps?.push(psMs());
  }
  keeper.kill('SIGKILL');
  const middle = (all: number[] | undefined) =>
    (all ?? []).sort((a, b) => a - b)[ROUNDS / 2]?.toFixed(0) ?? '?';
  const worst = Math.max(...(blocked ?? [])).toFixed(1);
  const figures = [
    `${middle(cpu)} ms of CPU (goal 120; the first scan ${firstMs.toFixed(0)} ms)`,
    `${middle(wall)} ms in total`,
    `longest block ${worst} ms (goal 10)`,
    `ps -eo with environment: ${middle(ps)} ms of CPU`,
  ];
  return `cleanup scan of ${scanned} processes: ${figures.join('; ')}`;
}

function psMs(): number {
  const out = execFileSync('sh', ['-c', 'ps axeww -o pid,ppid,pgid,sid,lstart,args >/dev/null; times'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const [, children = ''] = out.trim().split('\n');
  return children
    .split(' ')
    .map((one) => /(\d+)m([\d.]+)s/.exec(one))
    .reduce((sum, part) => sum + Number(part?.[1] ?? 0) * 60_000 + Number(part?.[2] ?? 0) * 1000, 0);
}

/** Starts small processes. Every tenth has a mark. All end with the returned process. */
async function keep(instance: string): Promise<ChildProcess> {
  const args = ['-S', '-E', join(ROOT, 'bench/processes.py'), String(PROCESSES), instance];
  const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  await pause(1000);
  return child;
}
