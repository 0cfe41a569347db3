/** A supervisor with warm workers over simulated ports. The rig records every call, and the test decides when a port answers. */
import { defaultProfile } from '../../../src/adapters/config/config-schema.ts';
import type { SessionId, WorkerId } from '../../../src/core/ids.ts';
import { instanceId, isWarmId } from '../../../src/core/ids.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import type { Session } from '../../../src/core/model/session.ts';
import type { ExitInfo, WorkerProcess } from '../../../src/core/model/worker.ts';
import type { Channels, ChannelsListener } from '../../../src/ports/channels.ts';
import type { DatabaseLoss, Registry } from '../../../src/ports/registry.ts';
import type { WarmRecord } from '../../../src/ports/worker-records.ts';
import type { Adopted, SpawnRequest, Workers, WorkersListener } from '../../../src/ports/workers.ts';
import { Dispatcher } from '../../../src/runtime/dispatch/dispatcher.ts';
import { recover } from '../../../src/runtime/sessions/recovery.ts';
import type { SessionHost } from '../../../src/runtime/sessions/session-host.ts';
import type { SupervisorDeps } from '../../../src/runtime/supervisor-deps.ts';
import { SupervisorParts } from '../../../src/runtime/supervisor-parts.ts';
import { until } from '../lib/wait.ts';

export const WARM_PROFILE: Profile = {
  ...defaultProfile('default', ['agent']),
  protocol: 'curfew',
  warm: 1,
};
const BOOT = 'boot';
const ALIVE: ExitInfo | null = null;

export interface RigOptions {
  readonly profile?: Profile;
  readonly limits?: Partial<SupervisorDeps['limits']>;
  /** The sessions in the registry of the earlier supervisor. */
  readonly recorded?: readonly Session[];
  /** The records in the folders of the workers that are still warm there. */
  readonly folders?: ReadonlyMap<WorkerId, WarmRecord>;
}

export class WarmRig {
  nowMs = 1_000_000;
  profile: Profile;
  readonly parts: SupervisorParts;
  readonly sessions: SessionHost;
  readonly dispatcher: Dispatcher;
  /** The calls of the ports in order: `spawn ID`, `assign ID`, `SIGTERM ID`, `adopt ID` and others. */
  readonly done: string[] = [];
  /** The signals in order, with the processes that get them: `SIGTERM main`, `SIGKILL all`. */
  readonly signals: string[] = [];
  readonly warnings: string[] = [];
  readonly requests: SpawnRequest[] = [];
  readonly saved = new Map<SessionId, Session>();
  /** The exits that an adoption finds. Without an entry the worker lives. */
  readonly ended = new Map<WorkerId, ExitInfo>();
  /** The registry answers the first record of a session after this promise. */
  onCreate: (session: Session) => Promise<void> = () => Promise.resolve();
  /** The registry answers a later record after this promise. */
  onSave: (session: Session) => Promise<void> = () => Promise.resolve();
  onSpawn: (id: WorkerId) => Promise<void> = () => Promise.resolve();
  readonly workers!: WorkersListener;
  /** Reports to the supervisor that its database was lost. */
  loseDatabase: (lost: DatabaseLoss) => void = () => undefined;
  channels: ChannelsListener | null = null;
  readonly #options: RigOptions;
  readonly #alarms = new Set<{ atMs: number; callback: () => void }>();
  readonly #infos: { readonly fields: object; readonly message: string }[] = [];
  #ids = 0;
  #pids = 100;

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.profile = options.profile ?? WARM_PROFILE;
    this.parts = new SupervisorParts(this.deps());
    this.sessions = this.parts.sessions;
    this.dispatcher = new Dispatcher(this.parts, () => undefined);
  }

  /** Starts as a supervisor does. */
  async start(): Promise<this> {
    await recover(this.parts);
    await this.parts.pool.restore((id) => this.parts.workerIndex.has(id));
    await this.parts.start();
    this.parts.pool.refresh(true);
    await settled();
    return this;
  }

  /** Makes the latest warm worker ready and returns its id. */
  async ready(): Promise<WorkerId> {
    const id = await until('a warm worker was started', () => this.warm.at(-1));
    this.reportsReady(id);
    await settled();
    return id;
  }

  /** The worker says hello and reports ready. False: the supervisor does not know the worker. */
  reportsReady(id: WorkerId): boolean {
    const known = this.channels?.hello(id) ?? false;
    if (known) this.channels?.message(id, { type: 'ready' });
    return known;
  }

  /** The ids of all warm workers that were started here. */
  get warm(): WorkerId[] {
    return this.callsOf('spawn').filter(isWarmId);
  }

  /** The worker ids of all calls of this kind, in order. */
  callsOf(what: string): WorkerId[] {
    return this.done.flatMap((one) =>
      one.startsWith(`${what} `) ? [one.slice(what.length + 1) as WorkerId] : [],
    );
  }

  dispatch(room: string, more: object = {}, origin: { assignedWithinMs?: number } = {}) {
    return this.dispatcher.dispatch(
      { room, agent: 'default', metadata: {}, labels: {}, limits: {}, ...more } as never,
      { job: null, mayQueue: true, assignedWithinMs: null, ...origin },
    );
  }

  /** The fields of each line of this text that tells without a warning. */
  told(message: string): object[] {
    return this.#infos.flatMap((one) => (one.message === message ? [one.fields] : []));
  }

  async advance(byMs: number): Promise<void> {
    this.nowMs += byMs;
    for (const one of [...this.#alarms].sort((a, b) => a.atMs - b.atMs))
      if (one.atMs <= this.nowMs && this.#alarms.delete(one)) one.callback();
    await settled();
  }

  exits(id: WorkerId, { tree = 0 }: { tree?: number } = {}): void {
    this.workers.exited(id, { code: 1, signal: null, at: this.#now() });
    this.workers.tree(id, tree);
  }

  process(bootId = BOOT): WorkerProcess {
    this.#pids += 2;
    const shim = { bootId, pid: this.#pids, startTicks: this.#pids };
    return { shim, main: { ...shim, pid: this.#pids + 1 } };
  }

  #now() {
    return { bootMs: this.nowMs, wallMs: this.nowMs };
  }

  #note(what: string): void {
    this.done.push(what);
  }

  deps(): SupervisorDeps {
    const note = (_fields: object, message: string) => void this.warnings.push(message);
    const info = (fields: object, message: string) => void this.#infos.push({ fields, message });
    const log = { debug: () => undefined, info, warn: note, error: note };
    const deps: Partial<SupervisorDeps> = {
      instance: {
        id: instanceId('rig'),
        stateDir: '',
        workersDir: '',
        bootId: BOOT,
        masterKey: Buffer.alloc(32),
        madeWallMs: 0,
      },
      clock: {
        now: () => this.#now(),
        at: (atMs, callback) => {
          const alarm = { atMs, callback };
          this.#alarms.add(alarm);
          return () => this.#alarms.delete(alarm);
        },
      },
      log,
      registry: this.#registry(),
      channels: this.#channels(),
      standIn: null,
      rooms: null,
      jobs: null,
      makeWorkers: (listener) => {
        Object.assign(this, { workers: listener });
        return this.#workers();
      },
      records: {
        list: () => Promise.resolve([...(this.#options.folders?.keys() ?? [])]),
        read: () => Promise.resolve(null),
        readWarm: (id) => Promise.resolve(this.#options.folders?.get(id) ?? null),
      },
      newId: () => `${++this.#ids}`,
      limits: {
        sessions: 10,
        perUser: 10,
        queue: 10,
        queueTimeoutMs: 60_000,
        startRatePerSecond: 1000,
        perAgent: {},
        ...this.#options.limits,
      },
      agents: ['default'],
      profileOf: () => this.profile,
    };
    return deps as SupervisorDeps;
  }

  #registry(): Registry {
    const save = async ({ session }: { session: Session }) => {
      this.#note(`save ${session.spec.id} ${session.phase.name}`);
      this.saved.set(session.spec.id, session);
    };
    const registry: Partial<Registry> = {
      save: async (write) => {
        await this.onSave(write.session);
        await save(write);
      },
      isNew: false,
      onLost: (listener) => {
        this.loseDatabase = listener;
      },
      create: async (write) => {
        await this.onCreate(write.session);
        await save(write);
      },
      discard: () => Promise.resolve(),
      probe: () => Promise.resolve(),
      get: (id) => Promise.resolve(this.saved.get(id) ?? null),
      open: () => Promise.resolve([...(this.#options.recorded ?? [])]),
    };
    return registry as Registry;
  }

  #channels(): Channels {
    return {
      socketPath: '',
      listen: (listener) => {
        this.channels = listener;
        return Promise.resolve();
      },
      tokenFor: (id) => `token of ${id}`,
      send: (id, message) => {
        this.#note(`${message.type} ${id}`);
        return true;
      },
      close: () => Promise.resolve(),
    };
  }

  #workers(): Workers {
    return {
      spawn: async (request) => {
        const { workerId } = request;
        this.requests.push(request);
        this.#note(`spawn ${workerId}`);
        await this.onSpawn(workerId);
        return this.process();
      },
      adopt: async (id, known): Promise<Adopted> => {
        this.#note(`adopt ${id}`);
        return { process: known ?? this.process(), exit: this.ended.get(id) ?? ALIVE };
      },
      signal: (id, signal, to) => {
        this.#note(`${signal} ${id}`);
        this.signals.push(`${signal} ${to ?? 'all'}`);
      },
      reap: (id) => this.#note(`reap ${id}`),
      record: (id) => this.#note(`record ${id}`),
      logPath: () => '',
      note: () => undefined,
      forwarding: () => null,
      forget: (id) => this.#note(`forget ${id}`),
      loadEndedLogs: () => Promise.resolve(),
      metricsOf: () => Promise.resolve(''),
      removeLeftTemp: () => Promise.resolve(0),
      prune: () => Promise.resolve(0),
      close: () => Promise.resolve(),
    };
  }
}

/** Waits until all work that needs no further answer is done. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
