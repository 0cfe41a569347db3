/** Scans all processes of the host. Workers that need a scan at the same time share one. */
import { setImmediate } from 'node:timers/promises';
import type { ProcessStat, ProcTable } from './proc-files.ts';
import { isDead, isForeign } from './proc-files.ts';

export interface ScannedProcess extends ProcessStat {
  /** The worker id in its mark. `null`: no mark of this instance. */
  readonly mark: string | null;
}

/** The processes of one scan, indexed so that the cost of one worker's tree depends on the tree, not on the host. */
export interface Snapshot {
  /** True: at its end the scan had read every living process. A process that is missing here does not exist. */
  readonly complete: boolean;
  readonly byPid: ReadonlyMap<number, ScannedProcess>;
  readonly byMark: ReadonlyMap<string, readonly ScannedProcess[]>;
  /** By process group and by kernel session. The leader's pid is the number of both. */
  readonly byLeader: ReadonlyMap<number, readonly ScannedProcess[]>;
  readonly byParent: ReadonlyMap<number, readonly ScannedProcess[]>;
}

export interface Scanner {
  /**
   * Starts a scan after this call. Rejects if /proc cannot be read.
   * The scan reads the marks of processes that started at `marksSinceTicks` or later.
   * A worker's tree is never older than its shim, so its start is a good value.
   */
  scan(marksSinceTicks: number): Promise<Snapshot>;
}

interface Waiter {
  readonly marksSinceTicks: number;
  readonly resolve: (snapshot: Snapshot) => void;
  readonly reject: (error: unknown) => void;
}

/** Reading this many takes about 3 ms. Then the event loop turns. */
const PIDS_PER_TURN = 50;
const LATE_ROUNDS = 8;
/** Clock ticks: 10 s. */
const SETTLED_TICKS = 1000;
/** Each waiter checks and signals its own processes at once, so the scanner resolves them in small groups. */
const WAITERS_PER_TURN = 10;

/**
 * `roughly`: for the cleanup. It may miss processes that start during the scan, because it runs again later.
 * Such a scanner remembers the marks of settled processes: only an exec changes an initial environment.
 * The check before a signal finds an exec.
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
    const pids = roughly ? await proc.pidsAsync() : proc.pids();
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
   * Race: a process that forks and exits repeatedly is never alive when the scan reaches its pid.
   * So the scan also reads processes that started meanwhile, without a pause, until none is unread.
   * The waiters act in the same turn of the event loop.
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

/** The marks of processes that are older than SETTLED_TICKS. */
class MarkMemory {
  #marks: ReadonlyMap<number, ScannedProcess> = new Map();

  /** `undefined`: not remembered, so it must be read. `null`: the process has no mark. */
  find({ pid, startTicks }: ProcessStat): string | null | undefined {
    const known = this.#marks.get(pid);
    return known?.startTicks === startTicks ? known.mark : undefined;
  }

  /** Forgets the youngest: between its fork and its exec a process shows its parent's environment. */
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
