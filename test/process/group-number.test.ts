/** How long the number of a group is believed whose leader is gone. On a made-up /proc: nothing here is signalled. */
import { performance } from 'node:perf_hooks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TreeReaper } from '../../src/adapters/worker/tree/tree-reaper.ts';
import { workerId } from '../../src/core/ids.ts';
import { WORKERS } from '../../src/lib/limits/worker-limits.ts';
import type { ProcessStat, ProcTable } from '../../src/process/proc-files.ts';
import { createScanner } from '../../src/process/process-scan.ts';
import { until } from '../support/lib/wait.ts';

const SHIM = { bootId: 'boot', pid: 100, startTicks: 10 };
const MAIN = inGroup(101, 11);
const OTHER = inGroup(102, 12);

afterEach(() => vi.restoreAllMocks());

function inGroup(pid: number, startTicks: number): ProcessStat {
  return { pid, ppid: 1, pgid: SHIM.pid, sid: SHIM.pid, state: 'S', startTicks };
}

function pursue() {
  let living: readonly ProcessStat[] = [];
  const proc: ProcTable = {
    pids: () => living.map((one) => one.pid),
    pidsAside: async () => living.map((one) => one.pid),
    stat: (pid) => living.find((one) => one.pid === pid) ?? null,
    mark: () => null,
    cmdline: () => '',
  };
  const told: number[] = [];
  const silent = () => undefined;
  const pursuit = new TreeReaper({
    aim: {
      workerId: workerId('s-1.1'),
      shim: SHIM,
      markPrefix: 'X=',
      cgroup: null,
      self: { pid: 1, pgid: 1 },
    },
    proc,
    scanner: createScanner(proc, 'X='),
    log: { debug: silent, info: silent, warn: silent, error: silent },
    onTree: (left) => void told.push(left),
  });
  return {
    pursuit,
    /** How many of these are the worker's. */
    left: async (those: readonly ProcessStat[], look: 'look' | 'exited' = 'exited') => {
      living = those;
      told.length = 0;
      pursuit[look]();
      await until('it has looked', () => told.length > 0);
      return told[0];
    },
    lives: (main: ProcessStat, ...others: readonly ProcessStat[]) => {
      living = [main, ...others];
      pursuit.sees(main);
    },
  };
}

function pass(ms: number): void {
  const real = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => real() + ms);
}

describe('who is in a group whose leader is gone', () => {
  it('is not the worker’s where nobody has seen the leader', async () => {
    expect(await pursue().left([OTHER])).toBe(0);
  });

  it('is the worker’s where its command was seen there just now', async () => {
    const { lives, left } = pursue();
    lives(MAIN);
    expect(await left([OTHER])).toBe(1);
  });

  it('is not where that was long ago: the number may have been given anew', async () => {
    const { lives, left } = pursue();
    lives(MAIN);
    pass(WORKERS.groupHeldMs + 1);
    expect(await left([OTHER])).toBe(0);
  });

  it('is where the command has left it, and the leader was seen just now', async () => {
    const { lives, left } = pursue();
    lives({ ...MAIN, pgid: MAIN.pid, sid: MAIN.pid }, { ...OTHER, ...SHIM });
    expect(await left([OTHER])).toBe(1);
  });

  it('is as long as one is there who was before, however long that lasts', async () => {
    const { lives, left } = pursue();
    lives(MAIN);
    expect(await left([OTHER])).toBe(1);
    pass(WORKERS.groupHeldMs + 1);
    expect(await left([OTHER, inGroup(103, 13)], 'look')).toBe(2);
  });

  it('is not once the group was seen to be empty', async () => {
    const { lives, left } = pursue();
    lives(MAIN);
    // Before its exit is told it is not over.
    expect(await left([], 'look')).toBe(1);
    expect(await left([OTHER])).toBe(0);
  });
});
