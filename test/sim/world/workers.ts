/** The Workers port of one supervisor over the simulated host. */
import { forkOrCold } from '../../../src/adapters/worker/start/fork-race.ts';
import type { WorkerId } from '../../../src/core/ids.ts';
import type { WorkerProcess } from '../../../src/core/model/worker.ts';
import { CurfewError, messageOf } from '../../../src/lib/errors.ts';
import { WORKERS } from '../../../src/lib/limits/worker-limits.ts';
import type { Adopted, SpawnRequest, Workers, WorkersListener } from '../../../src/ports/workers.ts';
import type { Host, Run } from './host.ts';
import type { Life } from './life.ts';
import { never } from './life.ts';
import type { World } from './world.ts';

/** The simulated zygote needs the folder alone. */
const ORDER = {
  type: 'fork',
  cwd: '/',
  env: {},
  umask: '077',
  maxFileBytes: 1,
  bootId: 'boot',
  cgroup: null,
  shimCgroup: null,
} as const;

const REFUSED = 125;

interface Entry {
  readonly id: WorkerId;
  readonly run: Run;
  /** Its spawn has resolved, or the supervisor adopted it. */
  announced: boolean;
  readonly adopted: boolean;
  /** A zygote was asked to fork it. */
  readonly wasOrdered: boolean;
  exitComing: boolean;
  exited: boolean;
  order: 'TERM main' | 'SIGTERM' | 'SIGKILL' | null;
  over: boolean;
}

export interface SignalWatch {
  /** `to`: the main process alone. */
  signalled(id: WorkerId, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void;
  spawning(request: SpawnRequest): void;
}

export class SimWorkers implements Workers {
  readonly #world: World;
  readonly #host: Host;
  readonly #life: Life;
  readonly #listener: WorkersListener;
  readonly #watch: SignalWatch;
  readonly #entries = new Map<WorkerId, Entry>();
  /** Refuses a start that is under way. */
  readonly #starting = new Map<WorkerId, (why: string) => void>();
  readonly #unwanted = new Set<WorkerId>();
  /** Zygotes were asked to fork these at some time. */
  readonly #ordered = new Set<WorkerId>();
  /** The order is under way. */
  readonly #forking = new Set<WorkerId>();

  constructor(world: World, host: Host, life: Life, listener: WorkersListener, watch: SignalWatch) {
    this.#world = world;
    this.#host = host;
    this.#life = life;
    this.#listener = listener;
    this.#watch = watch;
  }

  spawn(request: SpawnRequest): Promise<WorkerProcess> {
    const { workerId } = request;
    if (this.#life.dead('spawn')) return never();
    this.#watch.spawning(request);
    if (this.#starting.has(workerId) || this.#entries.has(workerId))
      return Promise.reject(new CurfewError('internal', `worker ${workerId} was started before`));
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#starting.delete(workerId);
        this.#unwanted.delete(workerId);
      };
      const refuse = (why: string) => {
        done();
        reject(new CurfewError('spawn_failed', why));
      };
      this.#starting.set(workerId, (why) => reject(new CurfewError('spawn_failed', why)));
      const { random } = this.#world;
      const waitMs = random.chance(0.02) ? random.between(2_000, 40_000) : random.wait(10, 2_000);
      this.#soon(waitMs, 'a start has its turn', () => {
        if (this.#unwanted.has(workerId)) return done();
        if (this.#host.disk === 'full') return refuse('its folder could not be written');
        if (this.#life.dead('before the shim')) return;
        const begin = (run: Run) => {
          const entry = this.#track(workerId, run, false);
          if (this.#life.dead('after the shim')) return;
          this.#waitForMain(entry, { resolve, refuse, done, untilMs: this.#world.nowMs + WORKERS.spawnMs });
        };
        if (request.fork === undefined) begin(this.#host.startShim(request));
        else
          this.#fork(request, request.fork).then(
            (forked) => begin(forked ?? this.#host.startShim(request)),
            (error: unknown) => this.#failed(request, refuse, messageOf(error)),
          );
      });
    });
  }

  async #fork(request: SpawnRequest, send: NonNullable<SpawnRequest['fork']>): Promise<Run | null> {
    const { workerId } = request;
    const folder = this.#host.folder(workerId);
    let cold: Run | null = null;
    this.#forking.add(workerId);
    this.#ordered.add(workerId);
    const found = await forkOrCold<Run>({
      nowMs: () => this.#world.nowMs,
      wait: () => new Promise((resolve) => this.#soon(25, 'a fork is awaited', resolve)),
      putOrder: async () => {
        folder.order = request;
      },
      takesBack: () => {
        if (this.#life.dead('before an order is taken back')) return never();
        const isThere = folder.order !== null;
        folder.order = null;
        return this.#life.dead('after an order was taken back') ? never() : Promise.resolve(isThere);
      },
      send: () => send({ ...ORDER, folder: workerId }),
      claim: async () => (folder.claim === 'free' || folder.claim === 'void' ? null : folder.run),
      failed: (why) => request.forkFailed?.(why),
      startCold: async () => {
        cold = this.#host.startShim(request);
      },
    });
    this.#forking.delete(workerId);
    return found ?? cold;
  }

  #failed({ workerId }: SpawnRequest, refuse: (why: string) => void, why: string): void {
    this.#world.fail('livekit-agents-run-unchanged: a zygote never fails a start', `${workerId}: ${why}`);
    refuse(why);
  }

  adopt(workerId: WorkerId, known: WorkerProcess | null): Promise<Adopted | null> {
    if (this.#life.dead('adopt')) return never();
    return new Promise((resolve, reject) => {
      this.#soon(this.#world.random.wait(5, 300), 'an adoption looks a worker up', () => {
        if (this.#life.dead('before the claim is taken')) return;
        const folder = this.#host.folder(workerId);
        if (known === null && folder.claim === 'free') {
          if (this.#host.disk === 'full') return reject(new Error('ENOSPC: its claim could not be written'));
          folder.claim = 'void';
        }
        if (this.#life.dead('after the claim is taken')) return;
        const run = folder.run;
        if (run !== null && run.bootId !== this.#world.bootId) return resolve(null);
        if (folder.claim === 'void' || run === null) return resolve(null);
        this.#adopted(this.#track(workerId, run, true));
        const main = folder.main === null ? null : this.#host.identity(folder.main);
        resolve({ process: known ?? { shim: this.#host.identity(run.shim), main }, exit: null });
      });
    });
  }

  signal(workerId: WorkerId, signal: 'SIGTERM' | 'SIGKILL', to?: 'main'): void {
    if (this.#life.dead(`before ${signal}`)) return;
    const order = to === 'main' ? 'TERM main' : signal;
    const entry = this.#entries.get(workerId);
    if (entry === undefined) this.#reportIfGone(workerId);
    if (this.#starting.has(workerId) && entry === undefined && !this.#forking.has(workerId)) {
      this.#unwanted.add(workerId);
      this.#starting.get(workerId)?.('it was ended before it ran');
    }
    if (entry?.announced !== true || entry.order === 'SIGKILL' || entry.order === order || entry.over) return;
    if (order === 'TERM main' && entry.order !== null) return;
    this.#watch.signalled(workerId, signal, to);
    this.#world.note(`life ${this.#life.number}`, `${order} to ${workerId}`);
    entry.order = order;
    this.#host.signal(entry.run, signal, to);
    if (this.#life.dead(`after ${signal}`)) return;
    this.#scanSoon(entry, false);
  }

  reap(workerId: WorkerId): void {
    if (this.#life.dead('reap')) return;
    const entry = this.#entries.get(workerId);
    if (entry === undefined) this.#reportIfGone(workerId);
    if (entry?.announced === true) this.#scanSoon(entry, true);
  }

  #reportIfGone(id: WorkerId): void {
    if (this.#starting.has(id)) return;
    this.#soon(this.#world.random.wait(10, 150), `a scan for ${id}`, () => {
      const lives = [...this.#host.alive].some((run) => run.id === id);
      if (!lives && !this.#entries.has(id)) this.#listener.tree(id, 0);
    });
  }

  record(workerId: WorkerId, record: object): void {
    const run = this.#entries.get(workerId)?.run;
    if (run !== undefined && this.#life.alive && this.#host.disk !== 'full') run.record = record;
  }

  logPath(workerId: WorkerId): string {
    return `/workers/${workerId}/log`;
  }

  note(): void {}

  forget(workerId: WorkerId): void {
    if (!this.#life.alive) return;
    if (this.#entries.get(workerId)?.over) this.#entries.delete(workerId);
  }

  prune(): Promise<number> {
    return Promise.resolve(0);
  }

  loadEndedLogs(): Promise<void> {
    return Promise.resolve();
  }

  metricsOf(): Promise<string> {
    return Promise.resolve('');
  }

  /** The simulated workers print nothing. */
  forwarding(): null {
    return null;
  }

  removeLeftTemp(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** A process of the tree started or ended. */
  noticed(run: Run): void {
    const entry = this.#entries.get(run.id);
    if (!this.#life.alive || entry === undefined || entry.run !== run) return;
    this.#noticeExit(entry);
    if (entry.order === null || entry.over) return;
    // A process that starts after a SIGKILL gets one, too.
    if (entry.order === 'SIGKILL' && run.children.some((one) => one.alive)) this.#strikeAgain(entry);
    this.#scanSoon(entry, false);
  }

  sampled(id: WorkerId, rssBytes: number): void {
    const entry = this.#entries.get(id);
    if (this.#life.alive && entry?.announced === true && !entry.exited)
      this.#listener.resources(id, { bytes: rssBytes, measure: 'rss' }, 1);
  }

  #track(id: WorkerId, run: Run, adopted: boolean): Entry {
    const entry: Entry = {
      id,
      run,
      announced: adopted,
      adopted,
      wasOrdered: this.#ordered.has(id),
      exitComing: false,
      exited: false,
      order: null,
      over: false,
    };
    this.#entries.set(id, entry);
    return entry;
  }

  #waitForMain(
    entry: Entry,
    start: {
      resolve: (process: WorkerProcess) => void;
      refuse: (why: string) => void;
      done: () => void;
      untilMs: number;
    },
  ): void {
    const { run } = entry;
    if (run.main !== null || run.shimExit !== null || this.#world.nowMs >= start.untilMs) {
      this.#soon(this.#world.random.wait(2, 200), 'a start is known', () => this.#settleStart(entry, start));
      return;
    }
    this.#soon(50, 'a start is awaited', () => this.#waitForMain(entry, start));
  }

  #settleStart(
    entry: Entry,
    start: {
      resolve: (process: WorkerProcess) => void;
      refuse: (why: string) => void;
      done: () => void;
    },
  ): void {
    const { run } = entry;
    if (run.main === null) {
      // A failed start leaves no process.
      if (run.shimExit === null) this.#host.killShim(run);
      this.#entries.delete(entry.id);
      if (run.shimExit?.code === REFUSED && entry.wasOrdered)
        this.#world.fail(
          'livekit-agents-run-unchanged: a zygote never fails a start',
          `${entry.id} was claimed before`,
        );
      start.refuse(
        run.shimExit?.code === REFUSED ? 'its start was claimed before' : 'the command did not run',
      );
      return;
    }
    if (this.#life.dead('a start is known')) return;
    start.done();
    entry.announced = true;
    start.resolve({ shim: this.#host.identity(run.shim), main: this.#host.identity(run.main) });
    this.#noticeExit(entry);
  }

  /** Race: the worker may have ended before the adoption. */
  #adopted(entry: Entry): void {
    if (entry.run.end !== null || entry.run.shimExit !== null) this.#noticeExit(entry);
  }

  #noticeExit(entry: Entry): void {
    const { run } = entry;
    if (!entry.announced || entry.exitComing) return;
    const started = run.main !== null;
    const gone = started ? run.end !== null : run.shimExit !== null;
    if (!gone) return;
    entry.exitComing = true;
    // Without an exit status from the shim only a scan once a second notices the end.
    const isReported = run.shimExit !== null && run.shimExit.signal === null;
    const { random } = this.#world;
    const waitMs = isReported ? 110 + random.wait(10, 100) : random.between(900, 1_700);
    this.#soon(waitMs, `${entry.id} is seen to have ended`, () => {
      const status = this.#host.folder(entry.id).status ?? { code: null, signal: null };
      entry.exited = true;
      this.#listener.exited(entry.id, { ...status, at: this.#world.stamp });
      this.#scanSoon(entry, true);
    });
  }

  #strikeAgain(entry: Entry): void {
    this.#soon(this.#world.random.between(1, 1_000), 'SIGKILL again', () =>
      this.#host.signal(entry.run, 'SIGKILL'),
    );
  }

  #scanSoon(entry: Entry, asked: boolean): void {
    const waitMs = asked ? this.#world.random.wait(10, 150) : this.#world.random.between(2, 260);
    this.#soon(waitMs, `a scan of the tree of ${entry.id}`, () => this.#scan(entry, asked));
  }

  #scan(entry: Entry, asked: boolean): void {
    if (entry.over) return;
    const { run } = entry;
    const left = this.#host.members(run).length + (run.shim.alive || !entry.exited ? 1 : 0);
    if (left === 0) {
      entry.over = true;
      this.#listener.tree(entry.id, 0);
    } else if (asked) this.#listener.tree(entry.id, left);
  }

  #soon(waitMs: number, what: string, run: () => void): void {
    this.#world.after(waitMs, { place: 'supervisor', what, life: this.#life, run });
  }
}
