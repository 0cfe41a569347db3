/** Scans one worker's process tree on request and signals it. After a signal it scans until the tree is gone. */
import { performance } from 'node:perf_hooks';
import type { ProcessIdentity } from '../../../core/model/worker.ts';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import { cgroupPids, killCgroup, removeCgroup } from '../../../process/cgroup.ts';
import type { Aim, Shot } from '../../../process/checked-signal.ts';
import { killGroup, signalMember, signalShim } from '../../../process/checked-signal.ts';
import type { ProcessStat, ProcTable } from '../../../process/proc-files.ts';
import { findAlive, isDead } from '../../../process/proc-files.ts';
import type { Scanner } from '../../../process/process-scan.ts';
import type { Member, ResolvedTree, Subject } from '../../../process/process-tree.ts';
import { resolveTree } from '../../../process/process-tree.ts';
import type { SentTerms } from './sent-terms.ts';

interface ReaperOptions {
  readonly aim: Aim;
  readonly sentTerms: SentTerms;
  readonly proc: ProcTable;
  readonly scanner: Scanner;
  readonly log: Log;
  /** The number of living processes. 0 comes once, as the last call. */
  readonly onTree: (left: number) => void;
}

type Order = 'SIGTERM' | 'SIGKILL';
type Identity = Pick<ProcessIdentity, 'pid' | 'startTicks'>;

export class TreeReaper {
  readonly #options: ReaperOptions;
  #known = new Map<number, number>();
  /** When the shim's number was last known to belong to its group. */
  #groupConfirmedMs = -Infinity;
  #foreignLogged = false;
  #deniedLogged = false;
  #exited = false;
  #scanRequested = false;
  #order: Order | null = null;
  /** TERM goes to this process alone; `null`: to all. */
  #termOnly: Identity | null = null;
  #delivered = false;
  #orderedMs = 0;
  /** Since when only the shim lives. `null`: other processes live. */
  #onlyShimSinceMs: number | null = null;
  #nextPauseMs = 0;
  #running = false;
  #over = false;
  #wake: () => void = () => {};
  readonly #ended = Promise.withResolvers<void>();

  constructor(options: ReaperOptions) {
    this.#options = options;
  }

  /** Resolves when the tree is gone, or after `stop`. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get subject(): Subject {
    const groupConfirmed = performance.now() - this.#groupConfirmedMs <= WORKERS.groupHeldMs;
    return { ...this.#options.aim, known: this.#known, groupConfirmed };
  }

  /** Call it when no other process can have had the shim's number until now. */
  confirmGroup(): void {
    this.#groupConfirmedMs = performance.now();
  }

  /** A living main process keeps the group's number in use, unless it left the group. `null`: it does not live. */
  mainSeen(main: ProcessStat | null): void {
    const { aim, proc } = this.#options;
    if (main?.pgid === aim.shim.pid || findAlive(proc, aim.shim)) this.confirmGroup();
  }

  /** The main process ended, and the listener has its exit. */
  exited(): void {
    this.#exited = true;
    this.requestScan();
  }

  requestScan(): void {
    this.#scanRequested = true;
    this.#runOrWake();
  }

  /** Continues the shim: a stopped shim cannot report its worker's exit. */
  wakeShim(): void {
    const { aim, proc } = this.#options;
    signalShim(proc, aim, 'SIGCONT');
  }

  /** Sends SIGTERM to this process alone. No effect after another signal. */
  terminate(main: Identity): void {
    if (this.#order !== null) return;
    this.#termOnly = main;
    this.#begin('SIGTERM');
  }

  /** Sends SIGTERM to each member that has had none, or SIGKILL repeatedly until none is left. SIGKILL cannot be withdrawn. */
  signal(order: Order): void {
    const isRepeated = this.#order === order && this.#termOnly === null;
    if (this.#order === 'SIGKILL' || isRepeated) return;
    this.#termOnly = null;
    this.#begin(order);
  }

  #begin(order: Order): void {
    this.#order = order;
    this.#delivered = false;
    this.#orderedMs = performance.now();
    this.#nextPauseMs = firstPauseMs(order);
    this.#runOrWake();
  }

  /** For the end of the supervisor: sends no more signals and reports no more. */
  stop(): void {
    this.#finish();
    this.#wake();
  }

  #runOrWake(): void {
    this.#wake();
    if (!this.#running && !this.#over) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (!this.#over && (this.#scanRequested || this.#order !== null)) {
      const requested = this.#scanRequested;
      this.#scanRequested = false;
      const left = await this.#round(requested).catch((error: unknown) => this.#scanFailed(error));
      if (!this.#over) this.#conclude(requested, left);
      const pause = left === null || (this.#order !== null && !this.#scanRequested);
      if (!this.#over && pause) await this.#pause();
    }
    this.#running = false;
  }

  /** `left` is `null` if the scan has no certain result. Then another scan follows. */
  #conclude(requested: boolean, left: number | null): void {
    if (left === null) this.#scanRequested ||= requested;
    else if (left === 0) this.#finish();
    if (left === 0 || (requested && left !== null)) this.#options.onTree(left);
  }

  #finish(): void {
    this.#over = true;
    const { cgroup } = this.#options.aim;
    // If only the supervisor ends, the worker's processes are still inside, and the kernel refuses the removal.
    if (cgroup !== null) removeCgroup(cgroup);
    this.#ended.resolve();
  }

  #scanFailed(error: unknown): null {
    this.#options.log.warn(
      { worker: this.#options.aim.workerId, error: messageOf(error) },
      'the processes of a worker could not be read; the next scan tries again',
    );
    this.#nextPauseMs = WORKERS.killScanMs[1];
    return null;
  }

  async #round(requested: boolean): Promise<number | null> {
    const isTermWait = !requested && this.#order === 'SIGTERM' && this.#delivered;
    const knownAlive = isTermWait ? this.#countKnownAlive() : 0;
    if (knownAlive > 0) return knownAlive;
    const { aim, scanner, sentTerms } = this.#options;
    if (this.#order === 'SIGTERM') await sentTerms.ready();
    const snapshot = await scanner.scan(aim.shim.startTicks);
    const inside = this.#inCgroup();
    const tree = resolveTree(snapshot, this.subject, { self: aim.self, inside });
    if (!this.#over) this.#act(tree, inside.length > 0);
    this.#known = new Map(tree.members.map((one) => [one.pid, one.startTicks]));
    if (tree.groupConfirmed === true) this.confirmGroup();
    else if (tree.groupConfirmed === false) this.#groupConfirmedMs = -Infinity;
    if (tree.foreignPids.length > 0) this.#logForeign(tree.foreignPids);
    // Until its exit was reported a worker counts as alive, even if /proc shows none of its processes.
    const left = tree.members.length + (tree.shim || !this.#exited ? 1 : 0);
    return left === 0 && !tree.complete ? null : left;
  }

  /** The living processes in the worker's cgroup now. */
  #inCgroup(): ProcessStat[] {
    const { aim, proc } = this.#options;
    const found = aim.cgroup === null ? [] : cgroupPids(aim.cgroup).map((pid) => proc.stat(pid));
    return found.filter((one) => one !== null && !isDead(one)) as ProcessStat[];
  }

  /** The number of known members that live. While one lives, no scan of the whole host is needed. */
  #countKnownAlive(): number {
    const { aim, proc } = this.#options;
    const alive = [...this.#known].flatMap(([pid, startTicks]) => findAlive(proc, { pid, startTicks }) ?? []);
    if (alive.some((one) => one.pgid === aim.shim.pid || one.sid === aim.shim.pid)) this.confirmGroup();
    return alive.length;
  }

  #logForeign(pids: readonly number[]): void {
    if (this.#foreignLogged) return;
    this.#foreignLogged = true;
    const { aim, log } = this.#options;
    log.warn(
      { worker: aim.workerId, group: aim.shim.pid, pids },
      "the number of a worker's process group probably belongs to another program now; its processes were not signalled",
    );
  }

  #act(tree: ResolvedTree, isGrouped: boolean): void {
    if (this.#order === null) return;
    const { aim } = this.#options;
    const again = this.#order === 'SIGKILL' || !this.#delivered;
    // Kills all processes in the cgroup at once, also those that are being forked. The rest is signalled one by one.
    if (this.#order === 'SIGKILL' && aim.cgroup !== null && isGrouped) killCgroup(aim.cgroup);
    if (again) {
      const targets = this.#targets(tree.members);
      this.#signalMembers(targets, this.#order);
      if (this.#order === 'SIGTERM') this.#options.sentTerms.add(targets);
    }
    if (tree.shim?.state === 'T') this.wakeShim();
    if (this.#order === 'SIGKILL') this.#endShim(tree);
    this.#delivered = true;
  }

  /** SIGKILL has all members as its targets. No process gets a second SIGTERM, also of an earlier supervisor. */
  #targets(members: readonly Member[]): readonly Member[] {
    if (this.#order !== 'SIGTERM') return members;
    const only = this.#termOnly;
    const aimedAt = only === null ? members : members.filter((one) => isSame(one, only));
    return aimedAt.filter((one) => !this.#options.sentTerms.has(one));
  }

  #signalMembers(members: readonly Member[], order: Order): void {
    const { aim, proc } = this.#options;
    const isNew = (one: Member) => this.#known.get(one.pid) !== one.startTicks;
    const forked = this.#delivered && members.some(isNew);
    if (forked) this.#nextPauseMs = 0;
    const late = performance.now() - this.#orderedMs > WORKERS.forkerMs;
    const inGroup = members.find((one) => one.evidence === 'group');
    if (forked && late && inGroup) killGroup(proc, aim, inGroup);
    for (const one of members) this.#logDenied(one, signalMember(proc, aim, one, order));
  }

  #logDenied(member: Member, shot: Shot): void {
    if (shot !== 'denied' || this.#deniedLogged) return;
    this.#deniedLogged = true;
    const { aim, log } = this.#options;
    log.warn(
      { worker: aim.workerId, pid: member.pid },
      'the kernel refused a signal to a process of the worker, which may run as another user; the worker has no further line like this',
    );
  }

  /** When its worker is dead, a shim writes the status and exits. A shim that does not is killed after `shimMs`. */
  #endShim(tree: ResolvedTree): void {
    const { aim, proc } = this.#options;
    if (!tree.shim || tree.members.length > 0) {
      this.#onlyShimSinceMs = null;
      return;
    }
    this.#onlyShimSinceMs ??= performance.now();
    if (performance.now() - this.#onlyShimSinceMs >= WORKERS.shimMs) signalShim(proc, aim, 'SIGKILL');
  }

  async #pause(): Promise<void> {
    const pauseMs = this.#nextPauseMs;
    this.#nextPauseMs = nextPauseMs(this.#order, pauseMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pauseMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}

function isSame(one: Identity, other: Identity): boolean {
  return one.pid === other.pid && one.startTicks === other.startTicks;
}

function firstPauseMs(order: Order): number {
  return order === 'SIGKILL' ? WORKERS.killScanMs[0] : WORKERS.termScanMs[0];
}

function nextPauseMs(order: Order | null, pauseMs: number): number {
  const [first, longest] = order === 'SIGKILL' ? WORKERS.killScanMs : WORKERS.termScanMs;
  return Math.min(longest, Math.max(first, pauseMs * 2));
}
