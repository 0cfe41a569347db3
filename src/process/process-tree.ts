/** Finds the processes that belong to a worker. Pure: a snapshot in, the members out. */
import type { WorkerId } from '../core/ids.ts';
import type { ProcessIdentity } from '../core/model/worker.ts';
import type { Evidence } from '../core/workers/cleanup-verdict.ts';
import type { ProcessStat } from './proc-files.ts';
import { isDead } from './proc-files.ts';
import type { ScannedProcess, Snapshot } from './process-scan.ts';

export interface Member {
  readonly pid: number;
  readonly startTicks: number;
  readonly evidence: Evidence;
}

export interface Subject {
  readonly workerId: WorkerId;
  readonly shim: ProcessIdentity;
  /** Start ticks by pid of the members in the last scan. A member stays a member. */
  readonly known: ReadonlyMap<number, number>;
  /** True: the shim's number belonged to its group a moment ago. A group keeps its number while it has members. */
  readonly groupConfirmed: boolean;
}

export interface ResolvedTree {
  /** Alive, without the shim. */
  readonly members: readonly Member[];
  /** `null`: the shim is dead. */
  readonly shim: ProcessStat | null;
  /** True: the shim's number still belongs to its group. `null`: this scan cannot tell. */
  readonly groupConfirmed: boolean | null;
  /** Pids in a group of that number that is probably another program's by now. No evidence links it to the shim. */
  readonly foreignPids: readonly number[];
  /** True: the worker can have no other processes. */
  readonly complete: boolean;
}

/** This process. Neither it nor a process in its own group is ever a member. */
export interface Self {
  readonly pid: number;
  readonly pgid: number;
}

/** `inside`: the processes in the worker's cgroup, read after the snapshot. */
export function resolveTree(
  snapshot: Snapshot,
  subject: Subject,
  { self, inside }: { self: Self; inside: readonly ProcessStat[] },
): ResolvedTree {
  const { shim } = subject;
  const leader = snapshot.byPid.get(shim.pid);
  const shimExists = leader?.startTicks === shim.startTicks;
  const known = knownIn(snapshot, subject);
  const marked = snapshot.byMark.get(subject.workerId) ?? [];
  const numbered = groupOf(snapshot, shim, leader);
  const own = new Set([...inside, ...marked, ...known].map((one) => one.pid));
  const isShimsGroup = shimExists || subject.groupConfirmed || numbered.some((one) => own.has(one.pid));
  const group = isShimsGroup ? numbered : [];
  const roots = new Map<number, Evidence>();
  const byPid = new Map<number, ProcessStat>(inside.map((one) => [one.pid, one]));
  for (const one of inside) roots.set(one.pid, 'cgroup');
  for (const one of group) keep(roots, one.pid, 'group');
  for (const one of marked) keep(roots, one.pid, 'mark');
  for (const one of known) keep(roots, one.pid, 'descent');
  if (shimExists) keep(roots, shim.pid, 'group');
  const find = (pid: number) => byPid.get(pid) ?? snapshot.byPid.get(pid);
  const isOthers = ({ mark }: ScannedProcess) => mark !== null && mark !== subject.workerId;
  const members = withDescendants(roots, { snapshot, self, find, isOthers }).filter(
    (one) => !shimExists || one.pid !== shim.pid,
  );
  const alive = shimExists && leader !== undefined && !isDead(leader) ? leader : null;
  const foreign = numbered.filter((one) => !roots.has(one.pid) && !isDead(one) && mayBeMember(one, self));
  return {
    members,
    shim: alive,
    groupConfirmed:
      shimExists || group.length > 0 || (snapshot.complete || numbered.length > 0 ? false : null),
    foreignPids: foreign.map((one) => one.pid),
    complete: snapshot.complete,
  };
}

/** All processes in a group or kernel session with the shim's number. Zombies count, because they keep it in use. */
function groupOf(snapshot: Snapshot, shim: ProcessIdentity, leader: ScannedProcess | undefined) {
  const recycled = leader !== undefined && leader.startTicks !== shim.startTicks;
  if (recycled) return [];
  return (snapshot.byLeader.get(shim.pid) ?? []).filter((one) => one.startTicks >= shim.startTicks);
}

function knownIn(snapshot: Snapshot, { known, workerId }: Subject): ScannedProcess[] {
  return [...known].flatMap(([pid, startTicks]) => {
    const one = snapshot.byPid.get(pid);
    // A forked worker has its zygote's mark until it has its own.
    const isOwn = one?.startTicks === startTicks && (one.mark === null || one.mark === workerId);
    return isOwn ? [one] : [];
  });
}

function withDescendants(
  roots: Map<number, Evidence>,
  around: {
    snapshot: Snapshot;
    self: Self;
    find: (pid: number) => ProcessStat | undefined;
    /** It has the mark of another worker, so it is that worker's. */
    isOthers: (one: ScannedProcess) => boolean;
  },
): Member[] {
  const { snapshot, self, find, isOthers } = around;
  const members: Member[] = [];
  for (const [pid, evidence] of roots) {
    const one = find(pid);
    if (!one || !mayBeMember(one, self)) continue;
    if (!isDead(one)) members.push({ pid, startTicks: one.startTicks, evidence });
    // The iteration of a Map includes entries that are added meanwhile, so the loop visits all descendants.
    for (const child of snapshot.byParent.get(pid) ?? []) {
      if (child.startTicks >= one.startTicks && !isOthers(child)) keep(roots, child.pid, 'descent');
    }
  }
  return members;
}

function mayBeMember(one: ProcessStat, self: Self): boolean {
  return one.pid > 1 && one.pid !== self.pid && one.pgid !== self.pgid;
}

function keep(roots: Map<number, Evidence>, pid: number, evidence: Evidence): void {
  if (!roots.has(pid)) roots.set(pid, evidence);
}
