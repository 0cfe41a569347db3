/** Who belongs to a worker. Pure: a snapshot in, the members out. */
import type { WorkerId } from '../core/ids.ts';
import type { ProcessIdentity } from '../core/session.ts';
import type { Evidence } from '../core/verdict.ts';
import type { ProcessStat } from './proc.ts';
import { isDead } from './proc.ts';
import type { ScannedProcess, Snapshot } from './scan.ts';

export interface Member {
  readonly pid: number;
  readonly startTicks: number;
  readonly evidence: Evidence;
}

export interface Subject {
  readonly workerId: WorkerId;
  readonly shim: ProcessIdentity;
  /** Start ticks by pid of the members of the last look: once a member, always a member. */
  readonly known: ReadonlyMap<number, number>;
  /** The group was seen empty after the shim's end: from then on its number may be another's. */
  readonly groupGone: boolean;
}

export interface TreeLook {
  /** Alive, without the shim. */
  readonly members: readonly Member[];
  readonly shim: ProcessStat | null;
  readonly groupGone: boolean;
  /** Whether there can be no others. */
  readonly complete: boolean;
}

/** The process that looks, which is never a member; nor is anything in its own group. */
export interface Self {
  readonly pid: number;
  readonly pgid: number;
}

/** `inside`: who is in the worker's cgroup, read after the snapshot. */
export function lookAtTree(
  snapshot: Snapshot,
  subject: Subject,
  { self, inside }: { self: Self; inside: readonly ProcessStat[] },
): TreeLook {
  const { shim } = subject;
  const leader = snapshot.byPid.get(shim.pid);
  const present = leader?.startTicks === shim.startTicks;
  const group = groupOf(snapshot, subject, leader);
  const roots = new Map<number, Evidence>();
  const byPid = new Map<number, ProcessStat>(inside.map((one) => [one.pid, one]));
  for (const one of inside) roots.set(one.pid, 'cgroup');
  for (const one of group) keep(roots, one.pid, 'group');
  for (const one of snapshot.byMark.get(subject.workerId) ?? []) keep(roots, one.pid, 'mark');
  for (const one of knownIn(snapshot, subject)) keep(roots, one.pid, 'descent');
  if (present) keep(roots, shim.pid, 'group');
  const find = (pid: number) => byPid.get(pid) ?? snapshot.byPid.get(pid);
  const members = withDescendants(roots, { snapshot, self, find }).filter(
    (one) => !present || one.pid !== shim.pid,
  );
  const alive = present && leader !== undefined && !isDead(leader) ? leader : null;
  const groupGone = subject.groupGone || (!present && group.length === 0 && snapshot.complete);
  return { members, shim: alive, groupGone, complete: snapshot.complete };
}

/** Zombies count here: they still hold the group's number. */
function groupOf(snapshot: Snapshot, { shim, groupGone }: Subject, leader: ScannedProcess | undefined) {
  const recycled = leader !== undefined && leader.startTicks !== shim.startTicks;
  if (recycled || groupGone) return [];
  return (snapshot.byLeader.get(shim.pid) ?? []).filter((one) => one.startTicks >= shim.startTicks);
}

function knownIn(snapshot: Snapshot, { known }: Subject): ScannedProcess[] {
  return [...known].flatMap(([pid, startTicks]) => {
    const one = snapshot.byPid.get(pid);
    return one?.startTicks === startTicks ? [one] : [];
  });
}

function withDescendants(
  roots: Map<number, Evidence>,
  around: { snapshot: Snapshot; self: Self; find: (pid: number) => ProcessStat | undefined },
): Member[] {
  const { snapshot, self, find } = around;
  const members: Member[] = [];
  for (const [pid, evidence] of roots) {
    const one = find(pid);
    if (!one || !mayBeMember(one, self)) continue;
    if (!isDead(one)) members.push({ pid, startTicks: one.startTicks, evidence });
    // The map grows under the loop, which a Map's iteration follows: so the whole descent is walked.
    for (const child of snapshot.byParent.get(pid) ?? []) {
      if (child.startTicks >= one.startTicks) keep(roots, child.pid, 'descent');
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
