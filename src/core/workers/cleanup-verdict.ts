/**
 * The verdict of a cleanup about each process that should perhaps not exist. Pure: facts of one scan in, verdicts out.
 * The dry run shows all verdicts. The real run ends exactly the processes with `action: 'kill'`.
 *
 * - A process is ours only by our mark, or by a recorded group or cgroup. A worker without a record is left and named.
 * - A live session of a live supervisor is never touched, because its supervisor ends it.
 * - No process younger than the grace is ended, and none in which the asking command runs.
 */
import { DEADLINES } from '../../lib/limits/session-limits.ts';
import type { InstanceId, SessionId, WorkerId } from '../ids.ts';
import type { Session } from '../model/session.ts';
import { isEnded, isIn, maxDurationAtMs, staleAtMs, workerOf } from '../model/session.ts';
import { hasPassedClaim } from '../teardown/finishing.ts';
import { longestTeardownMs } from '../teardown/steps.ts';

export type VerdictKind = 'orphan' | 'overdue' | 'stuck' | 'doubled' | 'unmanaged' | 'abandoned';

/**
 * Why a process is a target: it is in the worker's cgroup, or in the shim's group or kernel session. Or it has the mark,
 * descends from a member, or is the shim. `pattern`: a person named it, so only its identity counts.
 */
export type Evidence = 'cgroup' | 'group' | 'mark' | 'descent' | 'shim' | 'pattern';

/** One process as a scan found it. `startTicks` with the pid tells it from every later process. */
export interface ListedProcess {
  readonly pid: number;
  readonly startTicks: number;
  readonly evidence: Evidence;
  /** The shim's pid, which names group and kernel session; null: no shim is known. */
  readonly leader: number | null;
  readonly ageMs: number;
  readonly command: string;
  readonly rssBytes: number;
  /** Whether the supervisor's own user runs it. */
  readonly own: boolean;
  /** Whether it holds a connection to LiveKit; null: not known. */
  readonly livekit: boolean | null;
}

/** A worker's living tree, never empty, with the oldest process first. */
export interface WorkerTree {
  readonly workerId: WorkerId;
  /** The session in the registry or the supervisor; null: no record explains the worker. */
  readonly session: Session | null;
  /** A warm worker without a session. `pooled`: a supervisor's pool holds it. `stray`: no pool holds it. */
  readonly warm: 'pooled' | 'stray' | null;
  readonly members: readonly ListedProcess[];
}

/** A process that matches an agent's pattern and is no worker of curfew, with its descendants. */
export interface UnmanagedTree {
  readonly members: readonly ListedProcess[];
  /** The process is this command itself, one of its parents, or a supervisor. */
  readonly isProtected: boolean;
}

/**
 * `gone`: no process holds the lock of the state directory. `unknown`: curfew cannot find out, for the reason `why`.
 * `stateDir` null: the worker names none.
 */
export type InstanceFate =
  | { readonly kind: 'supervised' }
  | { readonly kind: 'gone'; readonly stateDir: string }
  | { readonly kind: 'unknown'; readonly stateDir: string | null; readonly why: string };

/** A worker of another instance. */
export interface ForeignTree {
  readonly instanceId: InstanceId;
  readonly workerId: WorkerId;
  readonly fate: InstanceFate;
  readonly members: readonly ListedProcess[];
}

export interface CleanupFacts {
  readonly trees: readonly WorkerTree[];
  readonly strangers: readonly UnmanagedTree[];
  /** Empty: nobody asked about other instances. */
  readonly foreign: readonly ForeignTree[];
}

export interface CleanupRules {
  readonly nowMs: number;
  /** No younger process is ended. */
  readonly graceMs: number;
  /** A living supervisor has the open sessions. */
  readonly supervised: boolean;
  /** The asking command and the scanning process, each with all its parents. */
  readonly spared: ReadonlySet<number>;
  /** A person allowed the end of unmanaged processes that are at least this old; null: not allowed. */
  readonly strangersOlderThanMs: number | null;
  /** A person allowed the end of the workers of this state directory if its supervisor is gone; null: of none. */
  readonly abandonedDir: string | null;
}

export interface Verdict {
  readonly kind: VerdictKind;
  readonly action: 'kill' | 'leave';
  readonly why: string;
  readonly workerId: WorkerId | null;
  readonly session: SessionId | null;
  readonly room: string | null;
  readonly members: readonly ListedProcess[];
  /** The other instance whose worker this is. Absent: this instance, or none. */
  readonly instance?: { readonly id: InstanceId; readonly stateDir: string | null };
}

type Judged = Pick<Verdict, 'kind' | 'action' | 'why'>;

/** A process that should exist gets no verdict. */
export function judge(facts: CleanupFacts, rules: CleanupRules): Verdict[] {
  const alive = new Set(facts.trees.map((tree) => tree.workerId));
  const holders = claimHolders(facts.trees);
  return [
    ...facts.trees.flatMap((tree) => {
      const judged = judgeTree(tree, { alive, holders, rules });
      return judged === null ? [] : [treeVerdict(tree, sparesYoung(judged, tree.members, rules))];
    }),
    ...facts.strangers.map((one) => strangerVerdict(one, rules)),
    ...facts.foreign.flatMap((one) => foreignVerdict(one, rules)),
  ].map((one) => sparesAsker(one, rules.spared));
}

/** Also used for an older plan, because a command can apply a plan that names its own tree. */
export function sparesAsker(verdict: Verdict, spared: ReadonlySet<number>): Verdict {
  if (verdict.action === 'leave' || !verdict.members.some(({ pid }) => spared.has(pid))) return verdict;
  return { ...verdict, action: 'leave', why: `${verdict.why}; left: this command runs in it` };
}

function treeVerdict({ workerId, session, members }: WorkerTree, judged: Judged): Verdict {
  const { id = null, room = null } = session?.spec ?? {};
  return { ...judged, workerId, session: id, room: room?.name ?? null, members };
}

interface Around {
  readonly alive: ReadonlySet<WorkerId>;
  readonly holders: ReadonlyMap<string, number>;
  readonly rules: CleanupRules;
}

/** Without a supervisor the worker is left, because the next start takes it over. */
function judgeStray({ supervised }: CleanupRules): Judged {
  return supervised
    ? { kind: 'orphan', action: 'kill', why: 'a warm worker that its supervisor does not keep' }
    : leave(
        'orphan',
        'a warm worker or a zygote, without a call: the next start of its supervisor takes it over',
      );
}

function judgeTree(tree: WorkerTree, around: Around): Judged | null {
  const { session, workerId } = tree;
  if (tree.warm === 'pooled') return null;
  if (tree.warm === 'stray') return judgeStray(around.rules);
  if (session === null)
    return leave('orphan', `no record explains worker ${workerId}: neither the registry nor its folder`);
  if (isEnded(session)) return judgeEnded(session);
  const current = workerOf(session);
  if (current?.id !== workerId) return judgeOther(session, { workerId, alive: around.alive });
  if (session.phase.name !== 'closing' && (around.holders.get(session.spec.claim) ?? 0) > 1)
    return leave('doubled', `room "${session.spec.room.name}" has two sessions with a live worker`);
  return judgeCurrent(session, around.rules);
}

function judgeEnded(session: Session): Judged {
  const { phase } = session;
  const reason = phase.name === 'ended' ? phase.ending.reason : 'unknown';
  if (reason === 'unkillable')
    return kill('stuck', 'the ladder of its session could not end it: tried again');
  return kill('orphan', `its session ended (${reason})`);
}

/** A worker of the session that does not serve it now. */
function judgeOther(
  session: Session,
  { workerId, alive }: { workerId: WorkerId; alive: ReadonlySet<WorkerId> },
): Judged {
  const current = workerOf(session);
  if (current === null || attemptOf(workerId) > current.attempt)
    return leave('orphan', `session ${session.spec.id} does not know worker ${workerId}`);
  return alive.has(current.id)
    ? kill('doubled', `worker ${current.id} has taken its place`)
    : kill('orphan', `its session goes on with worker ${current.id}`);
}

function attemptOf(id: WorkerId): number {
  return Number(id.slice(id.lastIndexOf('.') + 1));
}

function judgeCurrent(session: Session, { nowMs, supervised, graceMs }: CleanupRules): Judged | null {
  const { phase, spec } = session;
  if (phase.name === 'closing') {
    // No supervisor runs this teardown, or its step is over its bound.
    const lateMs = nowMs - phase.ladder.process.deadlineMs;
    return lateMs > graceMs ? kill('stuck', 'its teardown is long over its bounds') : null;
  }
  if (!isIn(session, 'starting', 'live')) return null;
  const overMs = nowMs - maxDurationAtMs(session) - longestTeardownMs(spec.profile.ladder);
  if (overMs > 0) {
    const why = `over its maximum of ${Math.round(spec.limits.maxDurationMs / 1000)} s and its ladder`;
    return supervised ? leave('overdue', `${why}: its supervisor is asked to end it`) : kill('overdue', why);
  }
  return supervised && silentForMs(session, nowMs) > graceMs
    ? leave('stuck', 'silent beyond its limit: its supervisor is asked to end it')
    : null;
}

/** How long a worker's silence is over all bounds that should have ended it. A held ending is no fault. */
function silentForMs(session: Session, nowMs: number): number {
  const { phase } = session;
  const staleMs = staleAtMs(session);
  if (phase.name !== 'live' || phase.inference !== null || staleMs === null) return 0;
  return nowMs - staleMs - DEADLINES.dumpMs;
}

/** How many open sessions with a living worker hold each claim. More than one is a fault that no cleanup decides. */
function claimHolders(trees: readonly WorkerTree[]): Map<string, number> {
  const holders = new Map<string, number>();
  for (const { session, workerId } of trees) {
    if (session === null || isEnded(session) || workerOf(session)?.id !== workerId) continue;
    if (hasPassedClaim(session)) continue;
    holders.set(session.spec.claim, (holders.get(session.spec.claim) ?? 0) + 1);
  }
  return holders;
}

function strangerVerdict({ members, isProtected }: UnmanagedTree, rules: CleanupRules): Verdict {
  const judged = sparesYoung(judgeStranger(members, { isProtected, rules }), members, rules);
  return { ...judged, workerId: null, session: null, room: null, members };
}

function judgeStranger(
  members: readonly ListedProcess[],
  { isProtected, rules }: { isProtected: boolean; rules: CleanupRules },
): Judged {
  const olderThanMs = rules.strangersOlderThanMs;
  if (isProtected) return leave('unmanaged', 'this command runs in it');
  if (members.some((one) => !one.own)) return leave('unmanaged', 'it belongs to another user');
  if (olderThanMs === null)
    return leave(
      'unmanaged',
      'not started by curfew; to end it: curfew cleanup --unmanaged --match PATTERN --older-than AGE',
    );
  if (ageOf(members) < olderThanMs) return leave('unmanaged', 'younger than was asked for');
  return kill('unmanaged', 'matches the pattern and is as old as asked for');
}

/** An instance with a living supervisor judges its workers alone, so such a worker gets no verdict. */
function foreignVerdict(
  { fate, instanceId, workerId, members }: ForeignTree,
  rules: CleanupRules,
): Verdict[] {
  if (fate.kind === 'supervised' || members.length === 0) return [];
  const judged = sparesYoung(judgeForeign(fate, members, rules), members, rules);
  const instance = { id: instanceId, stateDir: fate.stateDir };
  return [{ ...judged, workerId, session: null, room: null, members, instance }];
}

function judgeForeign(
  fate: Exclude<InstanceFate, { kind: 'supervised' }>,
  members: readonly ListedProcess[],
  { abandonedDir }: CleanupRules,
): Judged {
  if (fate.kind === 'unknown')
    return leave(
      'abandoned',
      `a worker of another instance, and its supervisor is not known to be gone: ${fate.why}`,
    );
  if (members.some((one) => !one.own)) return leave('abandoned', 'it belongs to another user');
  const why = `no supervisor has its state directory ${fate.stateDir}`;
  return abandonedDir === fate.stateDir
    ? kill('abandoned', why)
    : leave(
        'abandoned',
        `${why}; a start of that supervisor takes the worker over; to end it: curfew cleanup --abandoned ${fate.stateDir}`,
      );
}

function sparesYoung(judged: Judged, members: readonly ListedProcess[], { graceMs }: CleanupRules): Judged {
  if (judged.action === 'leave' || ageOf(members) >= graceMs) return judged;
  return { ...judged, action: 'leave', why: `${judged.why}; younger than ${graceMs / 1000} s, left for now` };
}

function ageOf(members: readonly ListedProcess[]): number {
  return Math.max(0, ...members.map((one) => one.ageMs));
}

function kill(kind: VerdictKind, why: string): Judged {
  return { kind, action: 'kill', why };
}

function leave(kind: VerdictKind, why: string): Judged {
  return { kind, action: 'leave', why };
}
