/** One look at every process of the host, shared by all workers that need one at the same time. */
import { setImmediate } from 'node:timers/promises';
import type { ProcessStat, ProcTable } from './proc-files.ts';
import { isDead, isForeign } from './proc-files.ts';

export interface ScannedProcess extends ProcessStat {
  /** The worker id in its mark, if the mark names this instance. */
  readonly mark: string | null;
}

/** Indexed, so that one worker's tree costs what the tree is, not what the host is. */
export interface Snapshot {
  /** At its end no process lived that it had not read: then who is not in it is not there. */
  readonly complete: boolean;
  readonly byPid: ReadonlyMap<number, ScannedProcess>;
  readonly byMark: ReadonlyMap<string, readonly ScannedProcess[]>;
  /** By process group and by kernel session: both are named by their leader's pid. */
  readonly byLeader: ReadonlyMap<number, readonly ScannedProcess[]>;
  readonly byParent: ReadonlyMap<number, readonly ScannedProcess[]>;
}

export interface Scanner {
  /**
   * A look that begins after this call. Marks are read of processes that started at `marksSinceTicks` or later:
   * a worker's tree is never older than its shim. Rejects when /proc cannot be read.
   */
  scan(marksSinceTicks: number): Promise<Snapshot>;
}

interface Waiter {
  readonly marksSinceTicks: number;
  readonly resolve: (snapshot: Snapshot) => void;
  readonly reject: (error: unknown) => void;
}

/** Between two of these the event loop turns: some 3 ms of reading. */
const PIDS_PER_TURN = 50;
const LATE_ROUNDS = 8;
/** Ten seconds. */
const SETTLED_TICKS = 1000;
/** Those who waited act at once (each checks and signals its own processes), so they are let go in small groups. */
const WAITERS_PER_TURN = 10;

/**
 * `roughly`: for a sweep, which may miss who is born meanwhile and comes round again. It remembers marks: the initial environment of
 * a process that has settled does not change, short of another exec, and then the check before a signal finds it out.
 */
export function createScanner(
  proc: ProcTable,
  markPrefix: string,
  { roughly }: { roughly: boolean } = { roughly: false },
): Scanner {
  return new HostScanner({ proc, markPrefix, roughly });
}

interface ScannerOptions {
  readonly proc: ProcTable;
  readonly markPrefix: string;
  readonly roughly: boolean;
}

class HostScanner implements Scanner {
  readonly #options: ScannerOptions;
  readonly #memory = new MarkMemory();
  #waiting: Waiter[] = [];
  #running = false;

  constructor(options: ScannerOptions) {
    this.#options = options;
  }

  scan(marksSinceTicks: number): Promise<Snapshot> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ marksSinceTicks, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      await setImmediate();
      const served = this.#waiting;
      this.#waiting = [];
      await this.#serve(served);
    }
    this.#running = false;
  }

  async #serve(served: readonly Waiter[]): Promise<void> {
    const since = served.reduce((least, one) => Math.min(least, one.marksSinceTicks), Infinity);
    const outcome = await this.#readAll(since).catch((error: unknown) => ({ error }));
    for (const [index, waiter] of served.entries()) {
      if (index % WAITERS_PER_TURN === WAITERS_PER_TURN - 1) await setImmediate();
      if ('error' in outcome) waiter.reject(outcome.error);
      else waiter.resolve(outcome);
    }
  }

  async #readAll(marksSinceTicks: number): Promise<Snapshot> {
    const { proc, roughly } = this.#options;
    const index = createIndex();
    const seen = new Set<number>();
    const read = (pid: number) => {
      seen.add(pid);
      const stat = statUnlessForeign(proc, pid);
      if (stat) index.add({ ...stat, mark: this.#readMark(stat, marksSinceTicks) });
    };
    const pids = roughly ? await proc.pidsAside() : proc.pids();
    for (const [nth, pid] of pids.entries()) {
      if (nth % PIDS_PER_TURN === PIDS_PER_TURN - 1) await setImmediate();
      read(pid);
    }
    if (roughly) this.#memory.keep(index.byPid);
    const complete = !roughly && this.#readLateBirths(seen, read);
    const { byPid, byMark, byLeader, byParent } = index;
    return { byPid, byMark, byLeader, byParent, complete };
  }

  /**
   * A process that forks and ends again and again is never there when its turn comes. So those born meanwhile are read too, at once,
   * until none is left unread; whoever waits for the look acts in the same turn.
   */
  #readLateBirths(seen: ReadonlySet<number>, read: (pid: number) => void): boolean {
    for (let round = 0; round < LATE_ROUNDS; round += 1) {
      const born = this.#options.proc.pids().filter((pid) => !seen.has(pid));
      if (born.length === 0) return true;
      for (const pid of born) read(pid);
    }
    return false;
  }

  #readMark(stat: ProcessStat, sinceTicks: number): string | null {
    if (stat.startTicks < sinceTicks || isDead(stat)) return null;
    const known = this.#memory.find(stat);
    return known === undefined ? this.#options.proc.mark(stat.pid, this.#options.markPrefix) : known;
  }
}

/** Marks of processes that have settled. */
class MarkMemory {
  #marks: ReadonlyMap<number, ScannedProcess> = new Map();

  /** Undefined: it must be read. */
  find({ pid, startTicks }: ProcessStat): string | null | undefined {
    const known = this.#marks.get(pid);
    return known?.startTicks === startTicks ? known.mark : undefined;
  }

  /** Not of the youngest: between its fork and its exec a process shows its parent's environment. */
  keep(byPid: ReadonlyMap<number, ScannedProcess>): void {
    let newestTicks = 0;
    for (const { startTicks } of byPid.values()) newestTicks = Math.max(newestTicks, startTicks);
    this.#marks = new Map([...byPid].filter(([, one]) => one.startTicks < newestTicks - SETTLED_TICKS));
  }
}

function statUnlessForeign(proc: ProcTable, pid: number): ProcessStat | null {
  try {
    return proc.stat(pid);
  } catch (error) {
    if (isForeign(error)) return null;
    throw error;
  }
}

function createIndex() {
  const byPid = new Map<number, ScannedProcess>();
  const byMark = new Map<string, ScannedProcess[]>();
  const byLeader = new Map<number, ScannedProcess[]>();
  const byParent = new Map<number, ScannedProcess[]>();
  const add = (one: ScannedProcess) => {
    byPid.set(one.pid, one);
    if (one.mark !== null) push(byMark, one.mark, one);
    push(byLeader, one.pgid, one);
    if (one.sid !== one.pgid) push(byLeader, one.sid, one);
    push(byParent, one.ppid, one);
  };
  return { add, byPid, byMark, byLeader, byParent };
}

function push<K>(index: Map<K, ScannedProcess[]>, key: K, one: ScannedProcess): void {
  const list = index.get(key);
  if (list) list.push(one);
  else index.set(key, [one]);
}
