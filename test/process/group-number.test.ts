/** For how long a process group without its leader still belongs to the worker, and a process that refuses signals. The /proc is simulated, and nothing is signalled. */
import { performance } from 'node:perf_hooks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SentTerms } from '../../src/adapters/worker/tree/sent-terms.ts';
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

function openReaper() {
  let living: readonly ProcessStat[] = [];
  const proc: ProcTable = {
    pids: () => living.map((one) => one.pid),
    pidsAsync: async () => living.map((one) => one.pid),
    stat: (pid) => living.find((one) => one.pid === pid) ?? null,
    mark: () => null,
    cmdline: () => '',
  };
  const counts: number[] = [];
  const silent = () => undefined;
  const warnings: unknown[] = [];
  const reaper = new TreeReaper({
    aim: {
      workerId: workerId('s-1.1'),
      shim: SHIM,
      markPrefix: 'X=',
      cgroup: null,
      self: { pid: 1, pgid: 1 },
    },
    sentTerms: new SentTerms('/nowhere/terms'),
    proc,
    scanner: createScanner(proc, 'X='),
    log: { debug: silent, info: silent, warn: (fields) => void warnings.push(fields), error: silent },
    onTree: (left) => void counts.push(left),
  });
  return {
    reaper,
    warnings,
    /** How many of these processes the reaper counts to the worker. */
    left: async (those: readonly ProcessStat[], how: 'requestScan' | 'exited' = 'exited') => {
      living = those;
      counts.length = 0;
      reaper[how]();
      await until('the reaper has scanned', () => counts.length > 0);
      const [count] = counts;
      return count;
    },
    lives: (main: ProcessStat, ...others: readonly ProcessStat[]) => {
      living = [main, ...others];
      reaper.mainSeen(main);
    },
  };
}

function pass(ms: number): void {
  const real = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => real() + ms);
}

describe('a process in a group without its leader', () => {
  it('does not belong to the worker when no scan saw the leader', async () => {
    expect(await openReaper().left([OTHER])).toBe(0);
  });

  it('belongs to the worker when a recent scan saw the command in the group', async () => {
    const { lives, left } = openReaper();
    lives(MAIN);
    expect(await left([OTHER])).toBe(1);
  });

  it('does not belong to the worker when that scan is old, because the kernel can have reused the number', async () => {
    const { lives, left } = openReaper();
    lives(MAIN);
    pass(WORKERS.groupHeldMs + 1);
    expect(await left([OTHER])).toBe(0);
  });

  it('belongs to the worker when the command left the group and a recent scan saw the leader', async () => {
    const { lives, left } = openReaper();
    lives({ ...MAIN, pgid: MAIN.pid, sid: MAIN.pid }, { ...OTHER, ...SHIM });
    expect(await left([OTHER])).toBe(1);
  });

  it('belongs to the worker as long as a process of the earlier group is still there', async () => {
    const { lives, left } = openReaper();
    lives(MAIN);
    expect(await left([OTHER])).toBe(1);
    pass(WORKERS.groupHeldMs + 1);
    expect(await left([OTHER, inGroup(103, 13)], 'requestScan')).toBe(2);
  });

  it('does not belong to the worker after a scan found the group empty', async () => {
    const { lives, left } = openReaper();
    lives(MAIN);
    // The worker counts as alive until its exit is reported.
    expect(await left([], 'requestScan')).toBe(1);
    expect(await left([OTHER])).toBe(0);
  });
});

describe('a process that refuses signals', () => {
  it('is logged once, although SIGKILL is repeated', async () => {
    const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
      throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    });
    const { reaper, warnings, lives } = openReaper();
    lives(MAIN);
    reaper.signal('SIGKILL');
    await until('SIGKILL was repeated', () => kill.mock.calls.length > 2);
    reaper.stop();
    expect(warnings).toEqual([{ worker: 's-1.1', pid: MAIN.pid }]);
  });
});
