/** A simulated worker: it connects, gets ready, joins its room, sends heartbeats, and obeys or disobeys. */
import type { SupervisorMessage, WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import { DEADLINES } from '../../../src/lib/limits/session-limits.ts';
import type { Connection, Peer, SimChannels } from './channels.ts';
import type { Exit, Host, Run } from './host.ts';
import { Launcher } from './launcher.ts';
import type { LiveKit } from './livekit.ts';
import { fateOf } from './random.ts';
import type { SimStandIn } from './stand-in.ts';
import type { World } from './world.ts';

export interface AgentWorld {
  readonly world: World;
  readonly host: Host;
  readonly livekit: LiveKit;
  /** SIGTERM waits for the job, and the end of a job can take long. */
  readonly isPatient: boolean;
  channels(): SimChannels | null;
  standIn(): SimStandIn | null;
  assigned(run: Run, session: string): void;
}

export class Agent implements Peer {
  readonly run: Run;
  readonly workerId: Run['id'];
  readonly token: string;
  room = '';
  identity = '';
  /** Its main loop is blocked. */
  hung = false;
  saidReadyMs: number | null = null;
  leftUnaskedMs: number | null = null;
  /** Its entrypoint raised an exception. */
  hasRaised = false;
  /** When it was asked to end its job; null: it was not. */
  askedMs: number | null = null;
  /** When it joined its room last. */
  joinedMs = 0;
  /** When it was out of its room, for any reason; null: it was not. */
  outMs: number | null = null;
  /** It has reported the end of its job. */
  hasReported = false;
  /** It had SIGTERM, and ends with its job. */
  #endsWithJob = false;
  /** Its participant's sid; null: it has not joined. */
  #sid: string | null = null;
  /** Its answer to its job, which is the same each time; null: it was not asked. */
  #rejects: boolean | null = null;
  /** The job of a LiveKit agent is over: it leaves its room, and its callbacks run. */
  #jobOver = false;
  readonly #at: AgentWorld;
  #connection: Connection | null = null;
  #beating = false;
  #launcher: Launcher | null = null;

  constructor(at: AgentWorld, run: Run) {
    this.#at = at;
    this.run = run;
    this.workerId = run.id;
    this.token = run.env.CURFEW_TOKEN ?? '';
    this.#enter(run.env.LIVEKIT_TOKEN ?? '["",""]');
  }

  get #random() {
    return this.#at.world.random;
  }

  get speaks(): boolean {
    return this.run.profile.protocol !== 'none';
  }

  get isLiveKit(): boolean {
    return this.run.profile.protocol === 'livekit';
  }

  get isInRoom(): boolean {
    return (
      this.#sid !== null && this.#at.livekit.room(this.room)?.people.get(this.identity)?.sid === this.#sid
    );
  }

  get #wire(): SimChannels | null {
    return this.isLiveKit ? (this.#at.standIn()?.wire ?? null) : this.#at.channels();
  }

  #enter(token: string): void {
    const [room, identity] = JSON.parse(token) as [string, string];
    this.room = room;
    this.identity = identity;
  }

  start(): void {
    const random = this.#random;
    if (random.chance(0.03)) {
      this.#later(random.wait(200, 5_000), 'fails at its start', () => this.end({ code: 1, signal: null }));
      return;
    }
    if (!this.speaks) {
      this.#joinSoon();
      return;
    }
    this.#later(random.wait(300, 5_000), 'connects', () => this.#connect());
  }

  /** Ends without a signal of curfew. */
  end(exit: Exit): void {
    this.#at.host.endMain(this.run, exit);
  }

  say(message: WorkerMessage): void {
    if (this.#connection !== null && !this.hung && !this.run.doomed)
      this.#wire?.sendFromWorker(this.#connection, message);
  }

  dropConnection(): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.#connection = null;
    this.#wire?.hangUp(connection);
    this.#connectAgain();
  }

  leaveRoom(): void {
    const me = this.#at.livekit.room(this.room)?.people.get(this.identity);
    if (me === undefined || !this.isInRoom) return;
    this.leftUnaskedMs = this.#at.world.nowMs;
    this.#at.livekit.leave(this.room, me.sid, 'client_initiated');
  }

  /** LiveKit threw it out, or its room is closed. */
  thrownOut(): void {
    if (this.isLiveKit) this.#endJob();
    else this.end({ code: 0, signal: null });
  }

  /** Some agents reject a job at random. In some runs all agents reject every job after business hours. */
  #mayReject(): boolean {
    const { seed, nowMs } = this.#at.world;
    const hours = fateOf(`${seed}`, { factor: 41, first: 15 });
    const isClosed = hours.chance(0.3) && nowMs > hours.between(60_000, 600_000);
    return isClosed || fateOf(`${seed}/${this.workerId}`, { factor: 37, first: 11 }).chance(0.1);
  }

  /** LiveKit must ask no other agent. */
  get #rejectsForAll(): boolean {
    return fateOf(`${this.#at.world.seed}/${this.workerId}`, { factor: 39, first: 13 }).chance(0.5);
  }

  /** LiveKit offers the job again after a reconnection. */
  offered(): void {
    const random = this.#random;
    if (this.#isDeaf || random.chance(0.02)) return;
    this.#later(random.wait(50, 2_000), 'answers its job', () => {
      if (this.#connection === null || this.hung) return;
      this.#rejects ??= this.#mayReject();
      if (this.#rejects) this.#at.standIn()?.reject(this.#connection, this.#rejectsForAll);
      else this.#at.standIn()?.accept(this.#connection);
    });
  }

  admitted(token: string, session: string): void {
    if (this.#isDeaf) return;
    this.#at.assigned(this.run, session);
    this.say({ type: 'ready' });
    if (this.saidReadyMs !== null) return;
    this.saidReadyMs = this.#at.world.nowMs;
    this.#enter(token);
    this.#joinSoon();
    this.#mayDialAndRaise();
    this.#attach();
  }

  /** The last caller has left its room. */
  callerLeft(): void {
    this.#launcher?.callerLeft();
  }

  /** Its AgentSession closed itself. */
  get hasClosed(): boolean {
    return this.#launcher?.hasClosed === true;
  }

  /** When its caller left and when its AgentSession closed itself for that; null: it did not close. */
  get closed(): Launcher['closed'] {
    return this.#launcher?.closed ?? null;
  }

  /** An error closed its AgentSession. */
  get hasFailed(): boolean {
    return this.#launcher?.hasFailed === true;
  }

  /** The AgentSession of its job starts, and the launcher with it. */
  #attach(): void {
    const isDeaf = () => this.#isDeaf;
    this.#launcher = new Launcher(this.#at, this.run, { token: this.token, isDeaf });
    this.#later(this.#random.between(100, 3_000), 'starts its AgentSession', () => this.#launcher?.start());
  }

  /** Its entrypoint may dial a phone, and may raise an exception. Each worker of a session does the same. */
  #mayDialAndRaise(): void {
    const session = this.workerId.replace(/\.\d+$/, '');
    const fate = fateOf(session, { factor: 31, first: 7 });
    if (fate.chance(0.2))
      this.#later(fate.wait(10, 5_000), 'dials a phone', () => {
        if (!this.#jobOver && !this.#isDeaf) this.say({ type: 'dialled' });
      });
    if (!fate.chance(0.25)) return;
    this.#later(fate.wait(6_000, 40_000), 'raises', () => {
      if (this.#jobOver || this.#isDeaf) return;
      this.hasRaised = true;
      this.say({ type: 'failed', message: 'its entrypoint raised', raised: true, endsLater: true });
      this.#endJob();
    });
  }

  terminated(): void {
    // The stand-in answers for an agent without a job.
    if (this.saidReadyMs === null) {
      this.say({ type: 'closed' });
      return;
    }
    this.askedMs ??= this.#at.world.nowMs;
    if (!this.#isDeaf && this.#random.chance(0.9)) this.#endJob();
  }

  get #isDeaf(): boolean {
    return this.run.main?.alive !== true || this.run.doomed || this.hung;
  }

  /** SIGTERM. true: the framework ends the job, and its main process waits for that. */
  termed(): boolean {
    if (!this.isLiveKit || this.saidReadyMs === null || this.hasReported || this.hung) return false;
    this.#endsWithJob = true;
    this.#endJob();
    return true;
  }

  /** A participant of this sid is out of its room. */
  outOfRoom(sid: string): void {
    if (sid === this.#sid) this.outMs = this.#at.world.nowMs;
  }

  /** The entrypoint may still run a tool, or may raise. The agent leaves its room after that, and its callbacks follow. */
  #endJobSlowly(): void {
    const random = this.#random;
    const leavesMs = random.chance(0.4) ? random.between(8_000, 17_000) : random.between(0, 2_000);
    if (random.chance(0.4))
      this.#later(leavesMs * random.next(), 'raises at the end of its job', () => {
        this.hasRaised = true;
        this.say({ type: 'failed', message: 'its entrypoint raised', raised: true, endsLater: true });
      });
    this.#later(leavesMs, 'leaves for its callbacks', () => this.leaveRoom());
    if (random.chance(0.05)) return;
    const callbacksMs = random.chance(0.5) ? random.between(5_000, 30_000) : random.between(0, 3_000);
    this.#later(leavesMs + callbacksMs, 'has run its callbacks', () => this.#reportEnd());
  }

  #reportEnd(): void {
    this.hasReported = true;
    this.say({ type: 'closed' });
    if (this.#endsWithJob) this.#at.host.endMain(this.run, { code: 0, signal: null }, 'curfew');
  }

  /** It leaves its room at once, and its shutdown callbacks run after that. Then it reports the end of its job. */
  #endJob(): void {
    if (this.#jobOver) return;
    this.#jobOver = true;
    if (this.#at.isPatient) {
      this.#endJobSlowly();
      return;
    }
    const random = this.#random;
    this.#later(random.wait(100, 2_000), 'leaves for its callbacks', () => {
      this.leaveRoom();
    });
    if (random.chance(0.05)) return;
    this.#later(2_000 + random.wait(3_000, 70_000), 'has run its callbacks', () => this.#reportEnd());
  }

  hear(message: SupervisorMessage): void {
    if (this.run.main?.alive !== true || this.run.doomed) return;
    if (message.type === 'dump') {
      if (this.#random.chance(0.5) && this.#connection !== null)
        this.#wire?.sendFromWorker(this.#connection, { type: 'dumped' });
      return;
    }
    if (!this.hung) this.#obey(message);
  }

  lost(): void {
    this.#connection = null;
    this.#connectAgain();
  }

  /** Its process is gone. The socket and LiveKit notice it some time later. */
  gone(): void {
    this.#launcher?.gone();
    if (this.#connection !== null) this.#wire?.hangUp(this.#connection);
    this.#connection = null;
    const { livekit, world } = this.#at;
    const me = livekit.room(this.room)?.people.get(this.identity);
    if (me === undefined || me.sid !== this.#sid) return;
    world.after(this.#random.wait(500, 15_000), {
      place: 'cloud',
      what: `LiveKit notices that ${this.workerId} is gone`,
      run: () => livekit.leave(this.room, me.sid, 'connection_timeout'),
    });
  }

  #obey(message: SupervisorMessage): void {
    const random = this.#random;
    switch (message.type) {
      case 'welcome':
        this.#welcomed();
        return;
      case 'configure':
        if (random.chance(0.9)) this.say({ type: 'configured', rev: message.rev });
        return;
      case 'aclose':
        if (random.chance(0.15)) return;
        this.#later(random.wait(1_500, 12_000), 'has closed', () => {
          this.say({ type: 'closed' });
          if (random.chance(0.3)) this.end({ code: 0, signal: null });
        });
        return;
      case 'disconnect':
        if (random.chance(0.15)) return;
        this.#later(random.wait(700, 12_000), 'ends as asked', () => this.end({ code: 0, signal: null }));
        return;
      case 'assign':
        this.#assigned(message);
        return;
      case 'notice':
      case 'dump':
      case 'error':
        return;
    }
  }

  /** The assignment may come twice for the same session, and never for another one. */
  #assigned({ job, token }: Extract<SupervisorMessage, { type: 'assign' }>): void {
    const random = this.#random;
    const isNew = this.run.spec === null;
    this.#at.assigned(this.run, job.session);
    if (!isNew) {
      this.say({ type: 'ready' });
      return;
    }
    this.#enter(token);
    if (random.chance(0.05)) {
      this.#later(random.wait(100, 3_000), 'dies on its assignment', () =>
        this.end({ code: 1, signal: null }),
      );
      return;
    }
    this.say({ type: 'ready' });
    this.#joinSoon();
  }

  #welcomed(): void {
    const random = this.#random;
    if (!this.#beating) this.#beat();
    if (this.saidReadyMs !== null) {
      this.say({ type: 'ready' });
      return;
    }
    if (random.chance(0.03)) return;
    this.#later(random.wait(2_000, 45_000), 'is ready', () => {
      this.saidReadyMs ??= this.#at.world.nowMs;
      this.say({ type: 'ready' });
      if (this.room !== '') this.#joinSoon();
    });
  }

  #beat(): void {
    this.#beating = true;
    this.#later(DEADLINES.heartbeatEveryMs * this.#random.between(0.9, 1.1), 'beats', () => {
      this.say({ type: 'heartbeat' });
      this.#beat();
    });
  }

  #joinSoon(): void {
    if (this.#random.chance(0.03)) return;
    this.#later(this.#random.wait(800, 10_000), 'joins its room', () => {
      if (this.#jobOver) return;
      const { room, identity } = this;
      this.#sid = this.#at.livekit.join(room, { identity, kind: 'agent' }).sid;
      this.joinedMs = this.#at.world.nowMs;
      this.outMs = null;
    });
  }

  #connect(): void {
    if (this.#connection !== null) return;
    this.#connection = this.#wire?.connect(this) ?? null;
    if (this.#connection === null) this.#connectAgain();
    else if (this.isLiveKit && !this.#beating) this.#beat();
  }

  #connectAgain(): void {
    if (this.run.main?.alive !== true) return;
    this.#later(this.#random.between(200, 3_000), 'connects again', () => this.#connect());
  }

  #later(waitMs: number, what: string, run: () => void): void {
    this.#at.world.after(waitMs, {
      place: 'host',
      what: `${this.workerId} ${what}`,
      run: () => {
        if (this.run.main?.alive === true && !this.run.doomed) run();
      },
    });
  }
}
