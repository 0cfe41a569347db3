/** A forked worker is below its zygote for a moment, with the zygote's mark. From its own mark on it is no process of the zygote. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Aim } from '../../src/process/checked-signal.ts';
import { signalMember } from '../../src/process/checked-signal.ts';
import type { ProcessStat, ProcTable } from '../../src/process/proc-files.ts';
import { createScanner } from '../../src/process/process-scan.ts';
import type { Subject } from '../../src/process/process-tree.ts';
import { resolveTree } from '../../src/process/process-tree.ts';

const ZYGOTE = workerId('zygote-1.1');
const SHIM = { bootId: 'boot', pid: 400_100, startTicks: 10 };
const SELF = { pid: 400_001, pgid: 400_001 };
const PREFIX = 'X=';

interface Process extends ProcessStat {
  readonly mark: string | null;
}

function process(pid: number, more: Partial<Process> = {}): Process {
  const own = { pid, ppid: 1, pgid: pid, sid: pid, state: 'S', startTicks: pid - 400_000 };
  return { ...own, mark: null, ...more } as Process;
}

const MAIN = process(400_101, { ppid: SHIM.pid, mark: ZYGOTE });
const SHIM_PROCESS = process(SHIM.pid, { startTicks: SHIM.startTicks, mark: ZYGOTE });

function table(all: readonly Process[]): ProcTable {
  const find = (pid: number) => all.find((one) => one.pid === pid) ?? null;
  return {
    pids: () => all.map((one) => one.pid),
    pidsAsync: async () => all.map((one) => one.pid),
    stat: find,
    mark: (pid) => find(pid)?.mark ?? null,
    cmdline: () => '',
  };
}

async function membersOf(all: readonly Process[], known: Subject['known'] = new Map()): Promise<number[]> {
  const snapshot = await createScanner(table(all), PREFIX).scan(0);
  const subject = { workerId: ZYGOTE, shim: SHIM, known, groupConfirmed: true };
  return resolveTree(snapshot, subject, { self: SELF, inside: [] }).members.map(({ pid }) => pid);
}

describe("the tree of a zygote's processes", () => {
  const child = (mark: string | null) => process(400_102, { ppid: MAIN.pid, mark });

  it("has its child with the zygote's mark or without one", async () => {
    expect(await membersOf([SHIM_PROCESS, MAIN, child(ZYGOTE)])).toContain(400_102);
    expect(await membersOf([SHIM_PROCESS, MAIN, child(null)])).toContain(400_102);
  });

  it('does not have a child with the mark of another worker, nor what is below that child', async () => {
    const below = process(400_103, { ppid: 400_102 });
    expect(await membersOf([SHIM_PROCESS, MAIN, child('s-1.1'), below])).toEqual([MAIN.pid]);
  });

  it('does not have a process of an earlier scan that has the mark of another worker now', async () => {
    const orphan = (mark: string | null) => process(400_102, { mark });
    const known = new Map([[400_102, 102]]);
    expect(await membersOf([SHIM_PROCESS, MAIN, orphan(null)], known)).toContain(400_102);
    expect(await membersOf([SHIM_PROCESS, MAIN, orphan('s-1.1')], known)).toEqual([MAIN.pid]);
  });
});

describe('a signal to a process that a scan found', () => {
  // No process has this number, so a signal that is sent finds nobody.
  const NOBODY = 2 ** 22 + 7;
  const aim: Aim = { workerId: ZYGOTE, shim: SHIM, markPrefix: PREFIX, cgroup: null, self: SELF };

  /** How often the signal reaches the kernel. */
  function shots(mark: string | null): number {
    const one = process(NOBODY, { startTicks: 5, mark });
    let sent = 0;
    const kill = globalThis.process.kill;
    globalThis.process.kill = () => {
      sent += 1;
      return true;
    };
    try {
      signalMember(table([one]), aim, { pid: NOBODY, startTicks: 5, evidence: 'descent' }, 'SIGTERM');
    } finally {
      globalThis.process.kill = kill;
    }
    return sent;
  }

  it('is sent to a descendant with its own mark or without one, and not to one with the mark of another worker', () => {
    expect(shots(null)).toBe(1);
    expect(shots(ZYGOTE)).toBe(1);
    expect(shots('s-1.1')).toBe(0);
  });
});
