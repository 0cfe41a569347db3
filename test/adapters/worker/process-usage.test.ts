import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { UsageReader } from '../../../src/adapters/worker/tree/process-usage.ts';
import { linkOf } from '../../../src/lib/safe-files.ts';
import { until } from '../../support/lib/wait.ts';
import { openWorkers } from '../../support/workers/workers-rig.ts';

/** A line of /proc/PID/stat, with a name that looks like fields. */
function statLine(one: {
  startTicks: number;
  userTicks: number;
  systemTicks: number;
  pages: number;
}): string {
  const fields = Array.from({ length: 50 }, () => '0');
  fields[0] = 'S';
  fields[11] = String(one.userTicks);
  fields[12] = String(one.systemTicks);
  fields[19] = String(one.startTicks);
  fields[21] = String(one.pages);
  return `7 (a) S 1 (b)) ${fields.join(' ')}\n`;
}

describe('the use of a process', () => {
  const PID = 7;

  it('is its resident memory, and its processor time since the last sample', async () => {
    let line = statLine({ startTicks: 5, userTicks: 100, systemTicks: 50, pages: 3 });
    const reader = new UsageReader(() => line);
    const first = (await reader.read([PID], () => 1000)).get(PID);
    expect(first?.cpu).toBe(0);
    expect((first?.memory ?? 0) % 3).toBe(0);
    expect(first?.memory).toBeGreaterThanOrEqual(3 * 4096);
    line = statLine({ startTicks: 5, userTicks: 140, systemTicks: 60, pages: 3 });
    // 50 ticks of 10 ms in one second.
    expect((await reader.read([PID], () => 2000)).get(PID)?.cpu).toBe(50);
  });

  it('has no processor time at first, for a recycled pid, and after a long time without a sample', async () => {
    let line = statLine({ startTicks: 5, userTicks: 100, systemTicks: 0, pages: 3 });
    const reader = new UsageReader(() => line);
    await reader.read([PID], () => 1000);
    line = statLine({ startTicks: 900, userTicks: 500, systemTicks: 0, pages: 8 });
    const recycled = (await reader.read([PID], () => 2000)).get(PID);
    expect(recycled?.cpu).toBe(0);
    expect(recycled?.memory).toBeGreaterThanOrEqual(8 * 4096);
    line = statLine({ startTicks: 900, userTicks: 900, systemTicks: 0, pages: 8 });
    expect((await reader.read([PID], () => 90_000)).get(PID)?.cpu).toBe(0);
  });

  it('is missing for a process that is gone or cannot be read, and the others are there', async () => {
    const reader = new UsageReader();
    const usage = await reader.read([process.pid, 2 ** 30], () => 1);
    expect([...usage.keys()]).toEqual([process.pid]);
    const near = process.memoryUsage.rss();
    expect(usage.get(process.pid)?.memory).toBeGreaterThan(near / 2);
    expect(usage.get(process.pid)?.memory).toBeLessThan(near * 2);
    const broken = new UsageReader(() => 'no line of the kernel');
    expect((await broken.read([PID], () => 1)).size).toBe(0);
  });
});

describe('a worker with many processes', () => {
  let host: ReturnType<typeof openWorkers>;
  afterEach(() => host.dispose());

  it('costs the supervisor no open files', async () => {
    host = openWorkers({ sampleMs: 50 });
    const loop = 'n=0; while [ $n -lt 20 ]; do sleep 300 & n=$((n + 1)); done; echo up; wait';
    const { id } = await host.startUp(['sh', '-c', loop]);
    await until('it was sampled', () => host.samples.length > 2);
    expect(openStats()).toEqual([]);
    host.workers.signal(id, 'SIGKILL');
    await host.treeGone(id);
  });
});

/** The files of processes that this process has open. */
function openStats(): string[] {
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => linkOf(`/proc/self/fd/${fd}`) ?? [])
    .filter((path) => /^\/proc\/\d+\/stat$/.test(path));
}
