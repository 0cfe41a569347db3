/** Who belongs to a worker. Pure: a snapshot in, the members out. */
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
  /** Start ticks by pid of the members of the last look: once a member, always a member. */
  readonly known: ReadonlyMap<number, number>;
  /** A moment ago the shim's number was its group's, which keeps it as long as it has members. */
  readonly groupHeld: boolean;
}

export interface TreeLook {
  /** Alive, without the shim. */
  readonly members: readonly Member[];
  readonly shim: ProcessStat | null;
  /** Whether the shim's number is its group's; null: this look cannot tell. */
  readonly groupHeld: boolean | null;
  /** In a group of that number, of which nothing shows that it is the shim's: another's by now. */
  readonly strangers: readonly number[];
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
  const known = knownIn(snapshot, subject);
  const marked = snapshot.byMark.get(subject.workerId) ?? [];
  const numbered = groupOf(snapshot, shim, leader);
  const own = new Set([...inside, ...marked, ...known].map((one) => one.pid));
  const held = present || subject.groupHeld || numbered.some((one) => own.has(one.pid));
  const group = held ? numbered : [];
  const roots = new Map<number, Evidence>();
  const byPid = new Map<number, ProcessStat>(inside.map((one) => [one.pid, one]));
  for (const one of inside) roots.set(one.pid, 'cgroup');
  for (const one of group) keep(roots, one.pid, 'group');
  for (const one of marked) keep(roots, one.pid, 'mark');
  for (const one of known) keep(roots, one.pid, 'descent');
  if (present) keep(roots, shim.pid, 'group');
  const find = (pid: number) => byPid.get(pid) ?? snapshot.byPid.get(pid);
  const members = withDescendants(roots, { snapshot, self, find }).filter(
    (one) => !present || one.pid !== shim.pid,
  );
  const alive = present && leader !== undefined && !isDead(leader) ? leader : null;
  const strangers = numbered.filter((one) => !roots.has(one.pid) && !isDead(one) && mayBeMember(one, self));
  return {
    members,
    shim: alive,
    groupHeld: present || group.length > 0 || (snapshot.complete || numbered.length > 0 ? false : null),
    strangers: strangers.map((one) => one.pid),
    complete: snapshot.complete,
  };
}

/** By the number alone. Zombies count here: they still hold it. */
function groupOf(snapshot: Snapshot, shim: ProcessIdentity, leader: ScannedProcess | undefined) {
  const recycled = leader !== undefined && leader.startTicks !== shim.startTicks;
  if (recycled) return [];
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
