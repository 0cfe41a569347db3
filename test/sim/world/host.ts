/** The simulated host: shims, workers, their children and their folders on disk. It outlives every supervisor. */
import type { WorkerId } from '../../../src/core/ids.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import type { SessionSpec } from '../../../src/core/model/session.ts';
import type { ProcessIdentity } from '../../../src/core/model/worker.ts';
import type { SpawnRequest } from '../../../src/ports/workers.ts';
import type { World } from './world.ts';

export interface Process {
  readonly pid: number;
  readonly startTicks: number;
  alive: boolean;
  /** The process ignores TERM. */
  deaf: boolean;
  /** When it had its TERM; null: it has had none. */
  termedMs: number | null;
  /** No signal ends it before this time, as in an uninterruptible sleep. */
  stuckUntilMs: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A worker's process tree since the start of its shim. */
export interface Run {
  readonly id: WorkerId;
  /** null: the worker is warm and has no session yet. */
  spec: SessionSpec | null;
  readonly profile: Profile;
  readonly env: Readonly<Record<string, string>>;
  record: object;
  readonly bornMs: number;
  readonly bootId: string;
  /** The zygote from which its parent was forked. null: it started cold. */
  readonly forkedBy: WorkerId | null;
  readonly shim: Process;
  main: Process | null;
  readonly children: Process[];
  shimExit: Exit | null;
  /** How its main process ended, and by what; null: it runs or has not started. */
  end: (Exit & { readonly atMs: number; readonly by: 'itself' | 'curfew' | 'host' }) | null;
  termed: boolean;
  killed: boolean;
  /** A deadly signal waits until the main process wakes up. No more code of that process runs. */
  doomed: boolean;
  /** The time of the latest death of a process in the tree. */
  lastDeathMs: number;
}

/** The parts of `state_dir/workers/ID/` that the simulation needs. */
export interface Folder {
  claim: 'free' | 'void' | Process;
  main: Process | null;
  status: Exit | null;
  run: Run | null;
  /** The right to fork the worker; null: it was not given, or one side took it. */
  order: SpawnRequest | null;
}

export type DiskState = 'ok' | 'full' | 'slow' | 'hung';

export interface HostListener {
  /** The worker's command runs. */
  born(run: Run): void;
  /** A process of the tree started or ended. */
  changed(run: Run): void;
  mainGone(run: Run): void;
  /** A main process has SIGTERM and waits for its job before it ends. */
  waits(run: Run): boolean;
}

const EXIT_REFUSED = 125;

export class Host {
  readonly world: World;
  readonly folders = new Map<WorkerId, Folder>();
  /** Trees with at least one living process. */
  readonly alive = new Set<Run>();
  readonly runs = new Map<WorkerId, Run>();
  disk: DiskState = 'ok';
  listener: HostListener = {
    born: () => undefined,
    changed: () => undefined,
    mainGone: () => undefined,
    waits: () => false,
  };
  #pid = 1000;
  #calm = false;

  constructor(world: World) {
    this.world = world;
  }

  folder(id: WorkerId): Folder {
    const known = this.folders.get(id);
    if (known !== undefined) return known;
    const made: Folder = { claim: 'free', main: null, status: null, run: null, order: null };
    this.folders.set(id, made);
    return made;
  }

  identity({ pid, startTicks }: Process): ProcessIdentity {
    return { bootId: this.world.bootId, pid, startTicks };
  }

  /** The identity as it was recorded on that boot. */
  identityIn({ bootId }: Run, { pid, startTicks }: Process): ProcessIdentity {
    return { bootId, pid, startTicks };
  }

  /** The shim starts. From now on the tree needs no supervisor. */
  startShim(request: SpawnRequest): Run {
    const run = this.#begin(request, null);
    this.world.note('host', `shim ${run.shim.pid} of ${run.id}`);
    this.#later(this.world.random.wait(3, 400), 'a shim claims', () => this.#claim(run));
    return run;
  }

  /** The child of a zygote takes the order, and claims the worker after a wait; null: the supervisor took the order back. */
  takeOrder(id: WorkerId, by: WorkerId, claimWaitMs: number): Run | null {
    const folder = this.folder(id);
    const { order } = folder;
    if (order === null) return null;
    folder.order = null;
    const run = this.#begin(order, by);
    this.world.note('host', `waiter ${run.shim.pid} of ${run.id}`);
    this.#later(claimWaitMs, 'a waiter claims', () => this.#claim(run));
    return run;
  }

  #begin({ workerId, profile, env, record }: SpawnRequest, forkedBy: WorkerId | null): Run {
    const spec = (record as { session?: { spec: SessionSpec } }).session?.spec ?? null;
    const run: Run = {
      id: workerId,
      spec,
      profile,
      env,
      record,
      bornMs: this.world.nowMs,
      bootId: this.world.bootId,
      forkedBy,
      shim: this.#process(),
      main: null,
      children: [],
      shimExit: null,
      end: null,
      lastDeathMs: Number.NEGATIVE_INFINITY,
      termed: false,
      killed: false,
      doomed: false,
    };
    this.alive.add(run);
    return run;
  }

  members(run: Run): Process[] {
    const own = run.main === null ? run.children : [run.main, ...run.children];
    return own.filter((one) => one.alive);
  }

  signal(run: Run, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void {
    if (signal === 'SIGTERM') run.termed = true;
    else run.killed = true;
    const isTarget = (one: Process) =>
      to === 'main' ? one === run.main : signal === 'SIGKILL' || one.termedMs === null;
    for (const one of this.members(run).filter(isTarget)) this.strike(run, one, signal);
    if (signal === 'SIGKILL' && run.main === null && run.shim.alive)
      this.#exitShim(run, { code: null, signal });
  }

  /** The main process ends without a signal of curfew, unless `by` says otherwise. */
  endMain(run: Run, exit: Exit, by: 'itself' | 'curfew' | 'host' = 'itself'): void {
    if (run.main?.alive !== true) return;
    this.#die(run, run.main, { exit, by });
  }

  fork(run: Run): void {
    const { random } = this.world;
    if (this.members(run).length === 0) return;
    run.children.push({ ...this.#process(), deaf: random.chance(0.3), stuckUntilMs: this.#stuckUntil(0.03) });
    this.world.note('host', `${run.id} forks`);
    this.listener.changed(run);
  }

  /** The power is cut, and every process ends. */
  reboot(): void {
    for (const run of this.alive) {
      for (const one of [...this.members(run), run.shim]) one.alive = false;
      run.end ??= { code: null, signal: null, atMs: this.world.nowMs, by: 'host' };
      this.listener.mainGone(run);
    }
    this.alive.clear();
  }

  /** From now on no new process gets stuck. */
  calm(): void {
    this.#calm = true;
  }

  /** The shim alone is killed. Its worker goes on, and its status will never be written. */
  killShim(run: Run): void {
    if (run.shim.alive) this.#exitShim(run, { code: null, signal: 'SIGKILL' });
  }

  #process(): Process {
    this.#pid += 1;
    return {
      pid: this.#pid,
      startTicks: Math.floor(this.world.bootMs / 10),
      alive: true,
      deaf: false,
      termedMs: null,
      stuckUntilMs: 0,
    };
  }

  #later(waitMs: number, what: string, run: () => void): void {
    const { bootId } = this.world;
    this.world.after(waitMs, {
      place: 'host',
      what,
      run: () => {
        if (this.world.bootId === bootId) run();
      },
    });
  }

  #claim(run: Run): void {
    if (!run.shim.alive) return;
    const folder = this.folder(run.id);
    if (folder.claim !== 'free') {
      this.#exitShim(run, { code: EXIT_REFUSED, signal: null });
      return;
    }
    folder.claim = run.shim;
    folder.run = run;
    const { random } = this.world;
    const waitMs =
      run.forkedBy !== null ? random.wait(2, 50) : random.wait(5, random.chance(0.1) ? 8_000 : 300);
    this.#later(waitMs, 'a command starts', () => this.#startMain(run, folder));
  }

  #startMain(run: Run, folder: Folder): void {
    const { random } = this.world;
    if (!run.shim.alive) return;
    if (run.forkedBy === null && random.chance(0.02)) {
      folder.status = { code: 127, signal: null };
      this.#exitShim(run, { code: 127, signal: null });
      return;
    }
    run.main = { ...this.#process(), deaf: random.chance(0.12), stuckUntilMs: this.#stuckUntil(0.03) };
    folder.main = run.main;
    if (this.runs.has(run.id))
      this.world.fail('one-live-worker-per-claim: a worker has one main process', `${run.id} has two`);
    this.runs.set(run.id, run);
    this.world.note('host', `main ${run.main.pid} of ${run.id} runs`);
    for (let count = random.chance(0.4) ? random.below(3) : 0; count > 0; count--) this.fork(run);
    this.listener.born(run);
    this.listener.changed(run);
  }

  #stuckUntil(share: number): number {
    const { random, nowMs } = this.world;
    return !this.#calm && random.chance(share) ? nowMs + random.between(1_000, 400_000) : 0;
  }

  strike(run: Run, one: Process, signal: 'SIGTERM' | 'SIGKILL'): void {
    const { random } = this.world;
    if (signal === 'SIGTERM') one.termedMs ??= this.world.nowMs;
    if (signal === 'SIGTERM' && one.deaf) return;
    if (one === run.shim) {
      this.#later(this.world.random.between(0, 5), 'SIGKILL ends a shim', () => this.killShim(run));
      return;
    }
    const stuckMs = Math.max(0, one.stuckUntilMs - this.world.nowMs);
    if (signal === 'SIGTERM' && one === run.main && stuckMs === 0 && this.listener.waits(run)) return;
    const waitMs = signal === 'SIGKILL' ? random.between(0, 5) : random.wait(300, 7_000);
    if (one === run.main && stuckMs > 0) run.doomed = true;
    const clean = signal === 'SIGTERM' && random.chance(0.5);
    this.#later(Math.max(waitMs, stuckMs), `${signal} ends ${one.pid}`, () =>
      this.#die(run, one, { exit: clean ? { code: 0, signal: null } : { code: null, signal }, by: 'curfew' }),
    );
  }

  #die(run: Run, one: Process, { exit, by }: { exit: Exit; by: 'itself' | 'curfew' | 'host' }): void {
    if (!one.alive) return;
    one.alive = false;
    run.lastDeathMs = this.world.nowMs;
    this.world.note('host', `${one.pid} of ${run.id} is gone (${exit.code ?? exit.signal})`);
    if (one === run.main) this.#mainDied(run, exit, by);
    this.#settle(run);
    this.listener.changed(run);
  }

  #mainDied(run: Run, exit: Exit, by: 'itself' | 'curfew' | 'host'): void {
    const { random, nowMs } = this.world;
    run.end = { ...exit, atMs: nowMs, by };
    this.listener.mainGone(run);
    for (const child of run.children)
      if (random.chance(0.6))
        this.#later(random.wait(20, 2_000), `child ${child.pid} follows`, () =>
          this.#die(run, child, { exit: { code: 0, signal: null }, by: 'itself' }),
        );
    this.#later(random.wait(2, 100), 'a shim writes the status', () => {
      if (!run.shim.alive) return;
      this.folder(run.id).status = exit;
      this.#exitShim(run, exit);
    });
  }

  #exitShim(run: Run, exit: Exit): void {
    run.shim.alive = false;
    run.shimExit = exit;
    this.#settle(run);
    this.listener.changed(run);
  }

  #settle(run: Run): void {
    if (!run.shim.alive && this.members(run).length === 0) this.alive.delete(run);
  }
}
