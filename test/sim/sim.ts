/** One simulated world with the real core and runtime in it. Supervisors start and die, everything else stays. */

import { defaultProfile } from '../../src/adapters/config/config-schema.ts';
import type { DispatchRequest } from '../../src/api/session-schemas.ts';
import { dispatchSchema } from '../../src/api/session-schemas.ts';
import type { WorkerId } from '../../src/core/ids.ts';
import { instanceId, isZygoteId } from '../../src/core/ids.ts';
import type { Profile } from '../../src/core/model/profile.ts';
import type { Actor } from '../../src/core/model/session.ts';
import { isEnded } from '../../src/core/model/session.ts';
import type { Participant } from '../../src/core/rooms/presence.ts';
import { isForked } from '../../src/core/workers/zygote-rules.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { WORKERS, ZYGOTE } from '../../src/lib/limits/worker-limits.ts';
import type { Instance } from '../../src/ports/instance.ts';
import type { Log } from '../../src/ports/log.ts';
import { Supervisor } from '../../src/runtime/supervisor.ts';
import { Callers } from './checks/callers.ts';
import { Ledger } from './checks/ledger.ts';
import { Rejections } from './checks/rejections.ts';
import { Returns } from './checks/returns.ts';
import { WarmForks } from './checks/warm-forks.ts';
import { Zygotes } from './checks/zygotes.ts';
import type { Scenario } from './scenario.ts';
import { Agent } from './world/agent.ts';
import { SimChannels } from './world/channels.ts';
import { Comebacks } from './world/comebacks.ts';
import type { DiskState, Run } from './world/host.ts';
import { Host } from './world/host.ts';
import { loadOf } from './world/host-load.ts';
import { SimJobs } from './world/jobs.ts';
import { Life } from './world/life.ts';
import type { ApiState } from './world/livekit.ts';
import { LiveKit } from './world/livekit.ts';
import { recordsOf, SimPlans, SimTable } from './world/process-table.ts';
import { Disk, SimRegistry } from './world/registry.ts';
import { SimRooms } from './world/rooms.ts';
import { SimStandIn } from './world/stand-in.ts';
import { SimWorkers } from './world/workers.ts';
import { clockOf, World } from './world/world.ts';
import { SimZygote } from './world/zygote.ts';

const MEMORY_BYTES = 1_000_000_000;
const CLEANUP_EVERY_MS = 300_000;
const CLEANUP_GRACE_MS = 60_000;
const PERSON: Actor = { kind: 'token', name: 'ops' };

/** One supervisor and its parts. */
export interface Generation {
  readonly life: Life;
  readonly supervisor: Supervisor;
  readonly workers: SimWorkers;
  readonly channels: SimChannels;
  readonly rooms: SimRooms;
  readonly jobs: SimJobs | null;
  readonly standIn: SimStandIn;
}

const limits = {
  maxDurationMs: 600_000,
  noActiveStreamMs: 120_000,
};

function profile(agent: string, change: Partial<Profile>): Profile {
  const base = defaultProfile(agent, ['agent']);
  return { ...base, protocol: 'curfew', ...change, limits: { ...base.limits, ...limits } };
}

const PROFILES: Readonly<Record<string, Profile>> = {
  default: profile('default', {}),
  keen: profile('keen', { replace: true, memoryBytes: MEMORY_BYTES }),
  plain: profile('plain', { protocol: 'none', replace: true }),
  scribe: profile('scribe', { claim: 'room+agent', roomOnEnd: 'keep' }),
  // A LiveKit agent: its callbacks run on after it has left its room.
  helper: profile('helper', { protocol: 'livekit', rejoin: 'always', agentName: 'helper' }),
};

const SHORT_SILENCE_MS = 8000;
const PREFORK: Partial<Profile> = { prefork: 'auto', preforkMaxAgeMs: 150_000 };

function profilesOf({ warm, traits }: Scenario): Readonly<Record<string, Profile>> {
  const all =
    warm === 0
      ? PROFILES
      : {
          ...PROFILES,
          warm: profile('warm', { warm, agentName: 'warm' }),
          eager: profile('eager', { protocol: 'livekit', warm, agentName: 'eager', rejoin: 'auto' }),
        };
  const second = { protocol: 'livekit', rejoin: 'always', agentName: 'second' } as const;
  const shared = traits.shares ? { ...all, second: profile('second', second) } : all;
  const changed = Object.entries(shared).map(([name, { ignore, ...rest }]): [string, Profile] => [
    name,
    {
      ...rest,
      ...(ignore !== undefined && traits.listeners !== 'count' && { ignore }),
      replace: rest.replace && traits.replaces,
      ...(traits.shares && rest.protocol === 'livekit' && { claim: 'room+agent' }),
      ...(traits.preforks && rest.protocol === 'livekit' && PREFORK),
      ...(traits.isImpatient && { limits: { ...rest.limits, noActiveStreamMs: SHORT_SILENCE_MS } }),
    },
  ]);
  return Object.fromEntries(changed);
}

export class Sim {
  readonly scenario: Scenario;
  readonly world: World;
  readonly host: Host;
  readonly disk: Disk;
  readonly livekit: LiveKit;
  readonly comebacks: Comebacks;
  readonly ledger: Ledger;
  readonly rejections: Rejections;
  readonly returns: Returns;
  readonly callers: Callers;
  readonly zygotes: Zygotes;
  readonly warmForks: WarmForks;
  readonly agents = new Map<WorkerId, Agent>();
  readonly #zygotes = new Map<WorkerId, SimZygote>();
  generation: Generation | null = null;
  lives = 0;
  #ids = 0;
  readonly #instance: Instance;
  /** The profiles of the config file. */
  #profiles: Readonly<Record<string, Profile>>;
  #downMs: number | null = null;
  #nextFuse: number | null = null;

  constructor(scenario: Scenario, tracing: boolean) {
    this.scenario = scenario;
    this.#profiles = profilesOf(scenario);
    this.world = new World(scenario.seed, tracing);
    this.host = new Host(this.world);
    this.disk = new Disk(this.world);
    this.livekit = new LiveKit(this.world);
    this.comebacks = new Comebacks(this.livekit, scenario.seed);
    const { world } = this;
    this.#instance = {
      id: instanceId('sim'),
      stateDir: '/state',
      workersDir: '/state/workers',
      get bootId() {
        return world.bootId;
      },
      masterKey: Buffer.alloc(32),
      madeWallMs: 0,
    };
    this.ledger = new Ledger(this);
    this.rejections = new Rejections(this);
    this.returns = new Returns(this);
    this.callers = new Callers(this);
    this.zygotes = new Zygotes(this);
    this.warmForks = new WarmForks(this);
    this.host.listener = {
      born: (run) => this.#born(run),
      changed: (run) => this.generation?.workers.noticed(run),
      mainGone: (run) => (this.agents.get(run.id) ?? this.#zygotes.get(run.id))?.gone(),
      waits: (run) => scenario.traits.isPatient && this.agents.get(run.id)?.termed() === true,
    };
    this.livekit.listener = {
      webhook: (hook) => this.generation?.rooms.hook(hook),
      out: (room, person, reason) => {
        this.ledger.out(room, person, reason);
        this.comebacks.out(room, person, reason);
        if (person.kind !== 'agent') this.#callerLeft(room);
        else this.#agentLeft(person);
      },
    };
    this.disk.watch = this.ledger;
  }

  /** The supervisor that takes requests now; null: none. */
  get serving(): Generation | null {
    const { generation } = this;
    return generation?.life.alive && generation.life.ready ? generation : null;
  }

  boot(): void {
    const { world } = this;
    const life = new Life(world, ++this.lives, (dead, where) => this.#died(dead, where));
    const fuse = this.#nextFuse;
    this.#nextFuse = null;
    if (fuse !== null) life.light(fuse);
    const channels = new SimChannels(world, life, this.ledger);
    const rooms = new SimRooms(this.livekit, life, this.ledger);
    const jobs =
      this.scenario.warm === 0
        ? null
        : new SimJobs(world, life, (job, answer) => this.rejections.answeredJob(job, answer));
    const standIn = new SimStandIn(world, life, { messages: this.ledger, offers: this.rejections });
    const made: { workers?: SimWorkers } = {};
    const supervisor = new Supervisor({
      instance: this.#instance,
      clock: clockOf(world, life),
      log: this.#log(life),
      registry: new SimRegistry(this.disk, life),
      channels,
      rooms,
      jobs,
      standIn,
      makeWorkers: (listener) => {
        made.workers = new SimWorkers(world, this.host, life, listener, this.ledger);
        return made.workers;
      },
      table: new SimTable(this.host, life, this.ledger),
      plans: new SimPlans(),
      drainStore: { read: () => null, write: () => undefined, clear: () => undefined },
      records: recordsOf(this.host),
      cleanup: { unmanaged: [], graceMs: CLEANUP_GRACE_MS },
      host: 'simulated',
      newId: () => `${++this.#ids}`,
      hostMonitor: loadOf(world),
      limits: { ...this.scenario.limits, perAgent: { scribe: 3 }, cpu: 0.8, memoryFree: 0.1 },
      agents: Object.keys(this.#profiles),
      profileOf: (agent) => this.#profiles[agent] ?? null,
      reload: () => Promise.resolve({ changed: [], restartNeeded: [] }),
      retention: { sessionsMs: 1, logsMs: 1 },
    });
    if (made.workers === undefined) throw new Error('the supervisor made no workers');
    this.generation = { life, supervisor, workers: made.workers, channels, rooms, jobs, standIn };
    world.note(`life ${life.number}`, 'begins');
    supervisor.start().then(
      () => {
        if (!life.alive) return;
        life.ready = true;
        world.note(`life ${life.number}`, 'is ready');
        this.ledger.anew();
        void supervisor.rebuildUnknownSessions().then(() => this.#cleanUp(life, supervisor));
      },
      (error: unknown) => {
        world.note(`life ${life.number}`, `does not start: ${messageOf(error)}`);
        life.die('a failed start');
      },
    );
  }

  /** The supervisor dies at one of its next calls. The next one starts `downMs` later, and may die during its own start (`again`). */
  crash({ points, downMs, again }: { points: number; downMs: number; again: number | null }): void {
    const life = this.generation?.life;
    if (!life?.alive || life.stopping) return;
    this.#downMs = downMs;
    this.#nextFuse = again;
    life.light(points);
    // A quiet supervisor calls no adapter for a while. Then it dies between two calls.
    this.world.after(this.world.random.between(0, 5_000), {
      place: 'cloud',
      what: 'the supervisor is killed',
      life,
      run: () => {
        if (!life.spared) life.die('SIGKILL');
      },
    });
  }

  reboot(): void {
    const { life } = this.generation ?? {};
    if (life?.stopping) return;
    this.ledger.rebooted();
    this.#downMs = 15_000;
    life?.die('a power cut');
    this.host.reboot();
    this.disk.powerCut();
    this.world.reboot();
  }

  dispatch(request: Partial<DispatchRequest>): void {
    const { supervisor, life } = this.serving ?? {};
    if (supervisor === undefined || life === undefined) return;
    const asked = dispatchSchema.parse(request);
    supervisor.dispatch(asked, PERSON).then(
      ({ session, created }) => {
        if (life.alive) this.ledger.acknowledged(asked, session, created);
      },
      (error: unknown) => {
        if (life.alive) this.ledger.refused(asked, error);
      },
    );
  }

  /** LiveKit's own dispatch offers a job. */
  offer(job: { id: string; agentName: string; room: string }): void {
    this.serving?.jobs
      ?.offer(job)
      .catch((error: unknown) =>
        this.world.fail('livekit-agents-run-unchanged: every offered job is answered', messageOf(error)),
      );
  }

  release(id: string): void {
    const { supervisor } = this.serving ?? {};
    if (supervisor === undefined) return;
    this.ledger.requested(id);
    supervisor.release(id, PERSON, null).catch(() => this.ledger.notFound(id));
  }

  keepAlive(id: string): void {
    const { supervisor } = this.serving ?? {};
    if (supervisor === undefined) return;
    supervisor.keepAlive(id, 60_000, PERSON).catch(() => undefined);
    this.ledger.kept(id, 60_000);
  }

  setMetadata(id: string): void {
    this.serving?.supervisor.setMetadata(id, { secret: 'metadata-marker' }, PERSON).catch(() => undefined);
  }

  releaseAll(): void {
    const { supervisor } = this.serving ?? {};
    if (supervisor === undefined) return;
    // A session that is just being admitted is not in this list yet. An ended one with a process left is, and it stays as it is.
    for (const session of supervisor.sessions.all())
      if (!isEnded(session)) this.ledger.requested(session.spec.id);
    supervisor.releaseMany({ filter: {}, all: true, dryRun: false }, PERSON).then(
      (sessions) => sessions.length,
      () => undefined,
    );
  }

  /** Accepts no new session from now on. */
  drain(): void {
    if (this.serving === null) return;
    this.returns.drainedMs = this.world.nowMs;
    this.serving.supervisor.drain(null, PERSON).catch(() => undefined);
  }

  undrain(): void {
    this.returns.drainedMs = null;
    this.serving?.supervisor.undrain(PERSON).catch(() => undefined);
  }

  stop(boundMs: number): Promise<{ left: number }> {
    const { generation } = this;
    if (generation === null) return Promise.resolve({ left: 0 });
    generation.life.stopping = true;
    return generation.supervisor.stop(boundMs, { kind: 'supervisor', name: 'SIGTERM' });
  }

  get profiles(): readonly Profile[] {
    return Object.values(this.#profiles);
  }

  /** A person deploys new code of the agents that are forked, and reloads the supervisor. */
  reload(isNewVersion: boolean): void {
    if (this.serving === null) return;
    if (isNewVersion) {
      const next = (one: Profile) => (isForked(one) ? { ...one, version: `${this.world.nowMs}` } : one);
      this.#profiles = Object.fromEntries(
        Object.entries(this.#profiles).map(([name, one]) => [name, next(one)]),
      );
    }
    this.serving.supervisor.reload(PERSON).catch(() => undefined);
  }

  setDisk(state: DiskState, forMs: number): void {
    this.host.disk = state;
    this.disk.state = state;
    this.world.after(forMs, {
      place: 'cloud',
      what: 'the disk works again',
      run: () => {
        this.host.disk = 'ok';
        this.disk.state = 'ok';
      },
    });
  }

  setLiveKit(state: ApiState, forMs: number): void {
    const { nowMs } = this.world;
    this.livekit.api = state;
    if (state === 'blind') this.livekit.blindSpells.push({ fromMs: nowMs, toMs: nowMs + forMs });
    this.world.after(forMs, {
      place: 'cloud',
      what: 'LiveKit works again',
      run: () => {
        this.livekit.api = 'ok';
      },
    });
  }

  useMemory(run: Run): void {
    const one = this.ledger.ofWorker(run.id);
    if (one !== undefined) one.memoryMs ??= this.world.nowMs;
    // curfew takes one sample for a peak. The next one decides.
    for (const waitMs of [0, 1, 2].map((count) => count * WORKERS.sampleMs))
      this.world.after(waitMs, {
        place: 'supervisor',
        what: `${run.id} uses too much memory`,
        run: () => this.generation?.workers.sampled(run.id, 2 * MEMORY_BYTES),
      });
  }

  zygoteBornMs(id: WorkerId): number | null {
    return this.#zygotes.get(id)?.bornMs ?? null;
  }

  killZygotes(): void {
    for (const one of this.#zygotes.values()) one.end({ code: null, signal: 'SIGKILL' });
  }

  growZygotes(): void {
    for (const id of this.#zygotes.keys()) this.generation?.workers.sampled(id, 2 * ZYGOTE.memoryBytes);
  }

  /** The troubles end: no new process gets stuck, and the supervisor does not die any more. */
  calm(): void {
    this.#nextFuse = null;
    this.generation?.life.spare();
    this.host.calm();
  }

  /** Cleans up now, and then in every interval. */
  #cleanUp(life: Life, supervisor: Supervisor): void {
    if (life.stopping) return;
    supervisor.cleanup({ dryRun: false }, PERSON).then(
      ({ verdicts }) => {
        for (const one of verdicts)
          this.world.note('cleanup', `${one.worker} ${one.kind}: ${one.action}, ${one.why} (${one.outcome})`);
      },
      (error: unknown) => this.world.note('cleanup', messageOf(error)),
    );
    this.world.after(CLEANUP_EVERY_MS, {
      place: 'supervisor',
      what: 'a cleanup is due',
      life,
      run: () => this.#cleanUp(life, supervisor),
    });
  }

  #born(run: Run): void {
    if (isZygoteId(run.id)) {
      const zygote = new SimZygote({ ...this, channels: () => this.generation?.channels ?? null }, run);
      this.#zygotes.set(run.id, zygote);
      zygote.start();
      return;
    }
    const agent = new Agent(
      {
        ...this,
        isPatient: this.scenario.traits.isPatient,
        channels: () => this.generation?.channels ?? null,
        standIn: () => this.generation?.standIn ?? null,
        assigned: (one, id) => this.ledger.assigned(one, id),
      },
      run,
    );
    this.agents.set(run.id, agent);
    this.ledger.born(run);
    agent.start();
  }

  /** The AgentSessions of a room without a caller may close themselves. */
  #callerLeft(room: string): void {
    const people = this.livekit.room(room)?.people.values() ?? [];
    if ([...people].some(({ kind, listens }) => kind !== 'agent' && listens !== true)) return;
    for (const agent of this.agents.values()) if (agent.room === room && agent.isInRoom) agent.callerLeft();
  }

  #agentLeft({ sid }: Participant): void {
    for (const agent of this.agents.values()) agent.outOfRoom(sid);
  }

  #died(life: Life, where: string): void {
    this.generation?.channels.lose();
    this.generation?.standIn.wire.lose();
    this.disk.restart();
    this.ledger.died(life, where);
    this.rejections.died();
    this.returns.died();
    if (life.stopping) return;
    const downMs = this.#downMs ?? this.world.random.wait(1_500, 20_000);
    this.#downMs = null;
    this.world.after(downMs, { place: 'host', what: 'a supervisor starts', run: () => this.boot() });
  }

  #log(life: Life): Log {
    const write = (level: string) => (fields: object, message: string) => {
      if (!life.alive) return;
      this.ledger.logged(level, fields, message);
      this.zygotes.logged(level, fields, message);
    };
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }
}
