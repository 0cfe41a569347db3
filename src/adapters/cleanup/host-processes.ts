/** The ProcessTable port: finds the host's processes for a cleanup, with the worker tree of each. */
import { readFileSync, statSync } from 'node:fs';
import type { InstanceId, WorkerId } from '../../core/ids.ts';
import { isWorkerName, workerId as workerIdOf } from '../../core/ids.ts';
import type { ProcessIdentity } from '../../core/model/worker.ts';
import { matchesPattern } from '../../core/name-pattern.ts';
import type {
  ForeignTree,
  InstanceFate,
  ListedProcess,
  UnmanagedTree,
} from '../../core/workers/cleanup-verdict.ts';
import { CLEANUP } from '../../lib/limits/cleanup-limits.ts';
import { SHIM_NAME, TICK_MS } from '../../lib/limits/worker-limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Ended, HostScan, ProcessTable } from '../../ports/process-table.ts';
import type { Cgroups } from '../../process/cgroup.ts';
import { cgroupPids, removeCgroup } from '../../process/cgroup.ts';
import type { ProcTable } from '../../process/proc-files.ts';
import { createProcTable, isDead } from '../../process/proc-files.ts';
import type { ScannedProcess, Snapshot } from '../../process/process-scan.ts';
import { createScanner } from '../../process/process-scan.ts';
import type { Member, Self } from '../../process/process-tree.ts';
import { resolveTree } from '../../process/process-tree.ts';
import { endTargets } from './end-targets.ts';
import type { StateDirs } from './foreign-instances.ts';
import { ANY_MARK, fateOf, foreignWorkers } from './foreign-instances.ts';
import { holdsSocket, livekitSockets } from './livekit-sockets.ts';
import { commandOf, shownCommandOf } from './shown-command.ts';

export interface TableOptions {
  /** `null`: no state directory, so no process belongs to this instance. */
  readonly instanceId: InstanceId | null;
  readonly clock: Clock;
  readonly cgroups: Cgroups | null;
  readonly livekitUrl: string | null;
  /** Absent: workers of other instances are not searched. */
  readonly stateDirs?: StateDirs;
}

const PAGE_BYTES = 4096;
const NO_PROCESS = -1;

export function createProcessTable(options: TableOptions): ProcessTable {
  const { instanceId, cgroups } = options;
  const proc = createProcTable();
  // A space is in no instance id, so without an instance no mark matches.
  const markPrefix = `${ANY_MARK}${instanceId ?? ' '}/`;
  const scanner = createScanner(proc, markPrefix, { roughly: true });
  const self: Self = { pid: process.pid, pgid: proc.stat(process.pid)?.pgid ?? process.pid };
  const groupOf = (id: WorkerId) => cgroups?.pathOf(id) ?? null;
  return {
    scan: async () => {
      const snapshot = await scanner.scan(0);
      const sockets = await livekitSockets(options.livekitUrl);
      return new HostSnapshot({ options, proc, snapshot, self, sockets, groupOf });
    },
    end: async (targets) => {
      const [free, held] = splitHeld(targets, { proc, stateDirs: options.stateDirs });
      const ended = await endTargets(free, { proc, markPrefix, self, groupOf });
      return [...ended, ...held.flatMap(({ members }) => members.map(unchanged))];
    },
    removeEmptyGroups: () =>
      (cgroups?.list() ?? [])
        .filter(({ path }) => cgroupPids(path).length === 0 && isOld(path) && removeCgroup(path))
        .map((one) => workerIdOf(one.workerId)),
  };
}

type Targets = Parameters<ProcessTable['end']>[0];

/** Race: the supervisor of another instance can have started since the plan. Then its workers are its own again. */
function splitHeld(
  targets: Targets,
  { proc, stateDirs }: { proc: ProcTable; stateDirs: StateDirs | undefined },
): [Targets, Targets] {
  const isFree = ({ instance, members }: Targets[number]) =>
    instance === undefined || (stateDirs !== undefined && isGone(instance.id, members, { proc, stateDirs }));
  return [targets.filter(isFree), targets.filter((one) => !isFree(one))];
}

/** A worker of which no process with its mark lives any more has nothing to lose. */
function isGone(
  instanceId: InstanceId,
  members: Targets[number]['members'],
  means: { proc: ProcTable; stateDirs: StateDirs },
): boolean {
  const marked = members.find(({ pid }) => means.proc.mark(pid, `${ANY_MARK}${instanceId}/`) !== null);
  return marked === undefined || fateOf({ instanceId, pid: marked.pid }, means).kind === 'gone';
}

function unchanged({ pid, startTicks }: ListedProcess): Ended {
  return { pid, startTicks, outcome: 'changed' };
}

/** Race: a worker that is being started is not in its cgroup yet. So only old cgroups are removed. */
function isOld(path: string): boolean {
  try {
    return Date.now() - statSync(path).ctimeMs > CLEANUP.graceMs;
  } catch {
    return false;
  }
}

interface ScanContext {
  readonly options: TableOptions;
  readonly proc: ProcTable;
  readonly snapshot: Snapshot;
  readonly self: Self;
  readonly sockets: ReadonlySet<string> | null;
  readonly groupOf: (id: WorkerId) => string | null;
}

class HostSnapshot implements HostScan {
  readonly #context: ScanContext;
  readonly #nowMs: number;
  /** The pids of all processes that belong to a worker's tree. */
  readonly #workerPids = new Set<number>();

  constructor(context: ScanContext) {
    this.#context = context;
    this.#nowMs = context.options.clock.now().bootMs;
  }

  get scanned(): number {
    return this.#context.snapshot.byPid.size;
  }

  get workerIds(): WorkerId[] {
    const { snapshot, options } = this.#context;
    const grouped = (options.cgroups?.list() ?? []).filter(({ path }) => cgroupPids(path).length > 0);
    const names = new Set([...snapshot.byMark.keys(), ...grouped.map((one) => one.workerId)]);
    // Any process can choose its mark, and the worker id becomes part of paths. So the name is checked.
    return [...names].filter(isWorkerName).map((name) => workerIdOf(name));
  }

  treeOf(workerId: WorkerId, shim: ProcessIdentity | null): ListedProcess[] {
    const { snapshot, self, groupOf, proc } = this.#context;
    const group = groupOf(workerId);
    const inside = group === null ? [] : cgroupPids(group).flatMap((pid) => proc.stat(pid) ?? []);
    const noShim: ProcessIdentity = { bootId: '', pid: NO_PROCESS, startTicks: NO_PROCESS };
    const subject = {
      workerId,
      shim: shim ?? noShim,
      known: new Map<number, number>(),
      // Without an observer the group's number is no proof. The shim or another member must be in the group.
      groupConfirmed: false,
    };
    const tree = resolveTree(snapshot, subject, { self, inside: inside.filter((one) => !isDead(one)) });
    const { shim: shell } = tree;
    const shimMember: Member[] =
      shell === null ? [] : [{ pid: shell.pid, startTicks: shell.startTicks, evidence: 'shim' }];
    // Without a record the shim's pid is unknown. Then its arguments identify the shim among the members.
    const members = tree.members.map(
      (one): Member => (isShim(proc, one.pid) ? { ...one, evidence: 'shim' } : one),
    );
    for (const one of members) this.#workerPids.add(one.pid);
    return this.#describe([...members, ...shimMember], shim?.pid ?? null);
  }

  spared(askerPid: number | null): ReadonlySet<number> {
    const { snapshot, self } = this.#context;
    return new Set([self.pid, askerPid ?? self.pid].flatMap((pid) => withAncestors(pid, snapshot)));
  }

  unmanaged(patterns: readonly string[], askerPid: number | null): UnmanagedTree[] {
    if (patterns.length === 0) return [];
    const { snapshot, proc, self } = this.#context;
    const matching = [...snapshot.byPid.values()].filter((one) => this.#matches(one, patterns));
    const spared = this.spared(askerPid);
    const pids = new Set(matching.map((one) => one.pid));
    const topmost = matching.filter((one) => !ancestorsOf(one, snapshot).some((pid) => pids.has(pid)));
    // The arguments of this command may contain the pattern.
    const others = topmost.filter((one) => one.pid !== self.pid && one.pid !== askerPid);
    return others.flatMap((one) => {
      const processes = [one, ...descendantsOf(one, snapshot)];
      // The tree contains a worker of another instance, so only that instance may judge it.
      if (processes.some(({ pid }) => proc.mark(pid, ANY_MARK) !== null)) return [];
      const isProtected = processes.some(({ pid }) => spared.has(pid));
      const members = processes.map(({ pid, startTicks }) => ({
        pid,
        startTicks,
        evidence: 'pattern' as const,
      }));
      return [{ members: this.#describe(members, null), isProtected }];
    });
  }

  foreign(): ForeignTree[] {
    const { snapshot, proc, options } = this.#context;
    const { stateDirs } = options;
    if (stateDirs === undefined) return [];
    const fates = new Map<InstanceId, InstanceFate>();
    return foreignWorkers(snapshot, proc).flatMap(({ instanceId, workerId, processes }) => {
      const [marked] = processes.filter((one) => one.isMarked);
      if (marked === undefined) return [];
      const fate = fates.get(instanceId) ?? fateOf({ instanceId, pid: marked.one.pid }, { proc, stateDirs });
      fates.set(instanceId, fate);
      const members = processes.map(({ one: { pid, startTicks }, isMarked }): Member => {
        const evidence = isMarked ? (isShim(proc, pid) ? 'shim' : 'mark') : 'descent';
        return { pid, startTicks, evidence };
      });
      return [{ instanceId, workerId, fate, members: this.#describe(members, null) }];
    });
  }

  #matches(one: ScannedProcess, patterns: readonly string[]): boolean {
    if (isDead(one) || one.mark !== null || one.pid === 1 || this.#workerPids.has(one.pid)) return false;
    const command = commandOf(this.#context.proc, one.pid);
    return command !== '' && patterns.some((pattern) => matchesPattern(command, pattern));
  }

  #describe(members: readonly Member[], leader: number | null): ListedProcess[] {
    const { proc, sockets } = this.#context;
    return [...members]
      .sort(
        (a, b) =>
          Number(a.evidence === 'shim') - Number(b.evidence === 'shim') || a.startTicks - b.startTicks,
      )
      .map(({ pid, startTicks, evidence }) => ({
        pid,
        startTicks,
        evidence,
        leader,
        ageMs: Math.max(0, this.#nowMs - startTicks * TICK_MS),
        command: evidence === 'shim' ? SHIM_NAME : shownCommandOf(proc, pid),
        rssBytes: residentBytes(pid),
        own: isOwn(pid),
        livekit: sockets === null ? null : holdsSocket(pid, sockets),
      }));
  }
}

/** The arguments of a shim are `sh -c SCRIPT NAME ...`. */
function isShim(proc: ProcTable, pid: number): boolean {
  return proc.cmdline(pid)?.split('\0')[3] === SHIM_NAME;
}

function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

function isOwn(pid: number): boolean {
  try {
    return statSync(`/proc/${pid}`).uid === process.getuid?.();
  } catch {
    return false;
  }
}

function ancestorsOf(one: ScannedProcess, snapshot: Snapshot): number[] {
  const found: number[] = [];
  for (
    let at = snapshot.byPid.get(one.ppid);
    at !== undefined && at.pid > 1;
    at = snapshot.byPid.get(at.ppid)
  ) {
    if (found.includes(at.pid)) break;
    found.push(at.pid);
  }
  return found;
}

function withAncestors(pid: number, snapshot: Snapshot): number[] {
  const one = snapshot.byPid.get(pid);
  return one === undefined ? [pid] : [pid, ...ancestorsOf(one, snapshot)];
}

function descendantsOf(one: ScannedProcess, snapshot: Snapshot): ScannedProcess[] {
  const children = (snapshot.byParent.get(one.pid) ?? []).filter((child) => !isDead(child));
  return children.flatMap((child) => [child, ...descendantsOf(child, snapshot)]);
}
