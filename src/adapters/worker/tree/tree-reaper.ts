/** Looks at one worker's tree when asked, signals it, and then does not let go until it is gone. */
import { performance } from 'node:perf_hooks';
import { messageOf } from '../../../lib/errors.ts';
import { WORKERS } from '../../../lib/limits/worker-limits.ts';
import type { Log } from '../../../ports/log.ts';
import { cgroupPids, killCgroup, removeCgroup } from '../../../process/cgroup.ts';
import type { Aim, Shot } from '../../../process/checked-signal.ts';
import { killGroup, signalMember, signalShim } from '../../../process/checked-signal.ts';
import type { ProcessStat, ProcTable } from '../../../process/proc-files.ts';
import { findAlive, isDead } from '../../../process/proc-files.ts';
import type { Scanner } from '../../../process/process-scan.ts';
import type { Member, Subject, TreeLook } from '../../../process/process-tree.ts';
import { lookAtTree } from '../../../process/process-tree.ts';

interface PursuitOptions {
  readonly aim: Aim;
  readonly proc: ProcTable;
  readonly scanner: Scanner;
  readonly log: Log;
  /** How many are left; 0 once, as the last word. */
  readonly onTree: (left: number) => void;
}

type Order = 'SIGTERM' | 'SIGKILL';

export class TreeReaper {
  readonly #options: PursuitOptions;
  #known = new Map<number, number>();
  /** When the shim's number was last seen to be its group's. */
  #groupHeldMs = -Infinity;
  #toldStrangers = false;
  #exited = false;
  #asked = false;
  #order: Order | null = null;
  #delivered = false;
  #orderedMs = 0;
  /** Since when nothing but the shim is left. */
  #bareSinceMs: number | null = null;
  #nextNapMs = 0;
  #running = false;
  #over = false;
  #wake: () => void = () => {};
  readonly #ended = Promise.withResolvers<void>();

  constructor(options: PursuitOptions) {
    this.#options = options;
  }

  /** Resolves when the tree is gone, or the pursuit was stopped. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get isOver(): boolean {
    return this.#over;
  }

  get subject(): Subject {
    const groupHeld = performance.now() - this.#groupHeldMs <= WORKERS.groupHeldMs;
    return { ...this.#options.aim, known: this.#known, groupHeld };
  }

  /** Nobody else can have had the shim's number until now. */
  holdGroup(): void {
    this.#groupHeldMs = performance.now();
  }

  /** The worker's own process, if it lives: it holds the number as the shim does, unless it has left the group. */
  sees(main: ProcessStat | null): void {
    const { aim, proc } = this.#options;
    if (main?.pgid === aim.shim.pid || findAlive(proc, aim.shim)) this.holdGroup();
  }

  /** The worker's own process ended, and its listener was told. */
  exited(): void {
    this.#exited = true;
    this.look();
  }

  look(): void {
    this.#asked = true;
    this.#go();
  }

  /** A stopped shim cannot tell that its worker ended. */
  wakeShim(): void {
    const { aim, proc } = this.#options;
    signalShim(proc, aim, 'SIGCONT');
  }

  /** SIGTERM reaches each member once; SIGKILL is repeated until none is left, and is not taken back. */
  signal(order: Order): void {
    if (this.#order === 'SIGKILL' || this.#order === order) return;
    this.#order = order;
    this.#delivered = false;
    this.#orderedMs = performance.now();
    this.#nextNapMs = firstNapMs(order);
    this.#go();
  }

  /** Gives up, as at the end of the supervisor: nothing more is signalled or told. */
  stop(): void {
    this.#finish();
    this.#wake();
  }

  #go(): void {
    this.#wake();
    if (!this.#running && !this.#over) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (!this.#over && (this.#asked || this.#order !== null)) {
      const asked = this.#asked;
      this.#asked = false;
      const left = await this.#round(asked).catch((error: unknown) => this.#unknown(error));
      if (!this.#over) this.#conclude(asked, left);
      const pause = left === null || (this.#order !== null && !this.#asked);
      if (!this.#over && pause) await this.#nap();
    }
    this.#running = false;
  }

  /** `left` null: nothing is known for certain, so that it is looked again. */
  #conclude(asked: boolean, left: number | null): void {
    if (left === null) this.#asked ||= asked;
    else if (left === 0) this.#finish();
    if (left === 0 || (asked && left !== null)) this.#options.onTree(left);
  }

  #finish(): void {
    this.#over = true;
    const { cgroup } = this.#options.aim;
    // Not by a supervisor that merely ends: then there is somebody inside, and nothing is removed.
    if (cgroup !== null) removeCgroup(cgroup);
    this.#ended.resolve();
  }

  #unknown(error: unknown): null {
    this.#options.log.warn(
      { worker: this.#options.aim.workerId, error: messageOf(error) },
      'the processes of a worker could not be looked at',
    );
    this.#nextNapMs = WORKERS.killScanMs[1];
    return null;
  }

  async #round(asked: boolean): Promise<number | null> {
    const glance = asked || this.#order !== 'SIGTERM' || !this.#delivered ? 0 : this.#glance();
    if (glance > 0) return glance;
    const { aim, scanner } = this.#options;
    const snapshot = await scanner.scan(aim.shim.startTicks);
    const inside = this.#inside();
    const look = lookAtTree(snapshot, this.subject, { self: aim.self, inside });
    if (!this.#over) this.#act(look, inside.length > 0);
    this.#known = new Map(look.members.map((one) => [one.pid, one.startTicks]));
    if (look.groupHeld === true) this.holdGroup();
    else if (look.groupHeld === false) this.#groupHeldMs = -Infinity;
    if (look.strangers.length > 0) this.#tellStrangers(look.strangers);
    // Before its exit was told a worker is not gone, whatever /proc says.
    const left = look.members.length + (look.shim || !this.#exited ? 1 : 0);
    return left === 0 && !look.complete ? null : left;
  }

  /** Who is in the worker's cgroup now. */
  #inside(): ProcessStat[] {
    const { aim, proc } = this.#options;
    const found = aim.cgroup === null ? [] : cgroupPids(aim.cgroup).map((pid) => proc.stat(pid));
    return found.filter((one) => one !== null && !isDead(one)) as ProcessStat[];
  }

  /** How many of the known members live: while one does, there is no need to look at the whole host. */
  #glance(): number {
    const { aim, proc } = this.#options;
    const alive = [...this.#known].flatMap(([pid, startTicks]) => findAlive(proc, { pid, startTicks }) ?? []);
    if (alive.some((one) => one.pgid === aim.shim.pid || one.sid === aim.shim.pid)) this.holdGroup();
    return alive.length;
  }

  #tellStrangers(pids: readonly number[]): void {
    if (this.#toldStrangers) return;
    this.#toldStrangers = true;
    const { aim, log } = this.#options;
    log.warn(
      { worker: aim.workerId, group: aim.shim.pid, pids },
      "the number of a worker's process group seems to be another's by now: what is in it is left",
    );
  }

  #act(look: TreeLook, isGrouped: boolean): void {
    if (this.#order === null) return;
    const { aim } = this.#options;
    const again = this.#order === 'SIGKILL' || !this.#delivered;
    // At once and with all that is being forked; what left the group is struck one by one.
    if (this.#order === 'SIGKILL' && aim.cgroup !== null && isGrouped) killCgroup(aim.cgroup);
    if (again) this.#strike(look.members, this.#order);
    if (look.shim?.state === 'T') this.wakeShim();
    if (this.#order === 'SIGKILL') this.#endShim(look);
    this.#delivered = true;
  }

  #strike(members: readonly Member[], order: Order): void {
    const { aim, proc } = this.#options;
    const isNew = (one: Member) => this.#known.get(one.pid) !== one.startTicks;
    const forked = this.#delivered && members.some(isNew);
    if (forked) this.#nextNapMs = 0;
    const late = performance.now() - this.#orderedMs > WORKERS.forkerMs;
    const inGroup = members.find((one) => one.evidence === 'group');
    if (forked && late && inGroup) killGroup(proc, aim, inGroup);
    for (const one of members) this.#note(one, signalMember(proc, aim, one, order));
  }

  #note(member: Member, shot: Shot): void {
    if (shot !== 'denied') return;
    const { aim, log } = this.#options;
    log.warn({ worker: aim.workerId, pid: member.pid }, 'a process of the worker may not be signalled');
  }

  /** A shim whose worker is dead writes the status and ends; one that does not is killed too. */
  #endShim(look: TreeLook): void {
    const { aim, proc } = this.#options;
    if (!look.shim || look.members.length > 0) {
      this.#bareSinceMs = null;
      return;
    }
    this.#bareSinceMs ??= performance.now();
    if (performance.now() - this.#bareSinceMs >= WORKERS.shimMs) signalShim(proc, aim, 'SIGKILL');
  }

  async #nap(): Promise<void> {
    const napMs = this.#nextNapMs;
    this.#nextNapMs = nextNapMs(this.#order, napMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, napMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}

function firstNapMs(order: Order): number {
  return order === 'SIGKILL' ? WORKERS.killScanMs[0] : WORKERS.termScanMs[0];
}

function nextNapMs(order: Order | null, napMs: number): number {
  const [first, longest] = order === 'SIGKILL' ? WORKERS.killScanMs : WORKERS.termScanMs;
  return Math.min(longest, Math.max(first, napMs * 2));
}
