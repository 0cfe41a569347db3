/** The launcher in the job of a simulated LiveKit agent: it connects to the control socket when the job has its AgentSession. */
import type { SupervisorMessage, WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { AgentWorld } from './agent.ts';
import type { Connection, Peer } from './channels.ts';
import type { Run } from './host.ts';
import { fateOf } from './random.ts';

export class Launcher implements Peer {
  readonly workerId: Run['id'];
  readonly token: string;
  readonly kit = 'node-launcher';
  /** An error of a provider closed its AgentSession. */
  hasFailed = false;
  /** Its AgentSession closed itself when the caller left. */
  hasClosed = false;
  /** When its caller left and when it closed itself for that; null: it did not close. */
  closed: { readonly leftMs: number; readonly atMs: number } | null = null;
  readonly #at: AgentWorld;
  readonly #run: Run;
  readonly #isDeaf: () => boolean;
  #connection: Connection | null = null;
  #accepts: readonly string[] = [];
  #state: WorkerMessage = { type: 'agent_session', open: 1 };
  #beatMs: number | null = null;
  #isBlocked = false;

  /** `isDeaf`: the event loop of the job is blocked. */
  constructor(at: AgentWorld, run: Run, { token, isDeaf }: { token: string; isDeaf: () => boolean }) {
    this.#at = at;
    this.#run = run;
    this.workerId = run.id;
    this.token = token;
    this.#isDeaf = isDeaf;
  }

  /** The AgentSession starts. It may fail later, and each worker of a session does the same. */
  start(): void {
    const session = this.workerId.replace(/\.\d+$/, '');
    const fate = fateOf(session, { factor: 33, first: 5 });
    this.#connect();
    if (!fate.chance(0.2)) return;
    this.#later(fate.wait(5_000, 60_000), 'has an AgentSession that fails', () => {
      if (this.hasClosed) return;
      const closed = { reason: 'error', provider: 'llm', message: 'caller-text of no concern' };
      this.#state = { type: 'agent_session', open: 0, closed };
      this.#tell(this.#state);
      if (fate.chance(0.3)) this.#later(0, 'opens another AgentSession', () => this.#openAnother());
      else this.hasFailed = true;
    });
  }

  /** The agent's own code has another provider. */
  #openAnother(): void {
    this.#state = { type: 'agent_session', open: 1 };
    this.#tell(this.#state);
  }

  hear(message: SupervisorMessage): void {
    if (message.type !== 'welcome' || !this.#isAlive) return;
    this.#accepts = message.accepts ?? [];
    if (message.job === null || !this.#accepts.includes('agent_session'))
      this.#at.world.fail(
        'livekit-agents-run-unchanged: the welcome to the job of an agent names the job and takes its reports',
        `${this.workerId} hears ${JSON.stringify(message)}`,
      );
    this.#tell(this.#state);
    const isFirst = this.#beatMs === null;
    this.#beatMs = message.heartbeatMs;
    if (isFirst) this.#beat();
  }

  /** The last caller has left. By default an AgentSession closes itself then. */
  callerLeft(): void {
    if (this.#beatMs === null || !fateOf(this.workerId, { factor: 35, first: 9 }).chance(0.5)) return;
    // `on_exit` and a running tool delay the close.
    const { random, nowMs: leftMs } = this.#at.world;
    const waitMs = this.#at.isPatient ? random.between(100, 15_000) : random.wait(100, 1_500);
    this.#later(waitMs, 'closes its AgentSession', () => {
      if (this.hasFailed || this.hasClosed) return;
      this.hasClosed = true;
      this.closed = { leftMs, atMs: this.#at.world.nowMs };
      this.#state = { type: 'agent_session', open: 0, closed: { reason: 'participant_disconnected' } };
      this.#tell(this.#state);
    });
  }

  offered(): void {}
  admitted(): void {}
  terminated(): void {}

  lost(): void {
    this.#connection = null;
    this.#connectAgain();
  }

  /** Its process is gone. */
  gone(): void {
    if (this.#connection !== null) this.#at.channels()?.hangUp(this.#connection);
    this.#connection = null;
  }

  get #isAlive(): boolean {
    return this.#run.main?.alive === true && !this.#run.doomed;
  }

  #tell(message: WorkerMessage): void {
    if (!this.#accepts.includes(message.type)) return;
    this.#say(message);
  }

  #say(message: WorkerMessage): void {
    if (this.#connection !== null && this.#isAlive && !this.#isDeaf())
      this.#at.channels()?.sendFromWorker(this.#connection, message);
  }

  #beat(): void {
    this.#later(this.#beatMs ?? 0, 'beats in its job', () => {
      if (this.#isDeaf()) this.#tellBlocked();
      else this.#say({ type: 'heartbeat' });
      this.#beat();
    });
  }

  /** A thread of its own notices the blocked loop, and tells it once. */
  #tellBlocked(): void {
    if (this.#isBlocked || this.#connection === null || !this.#accepts.includes('loop_blocked')) return;
    this.#isBlocked = true;
    this.#at.channels()?.sendFromWorker(this.#connection, { type: 'loop_blocked', forMs: 5_000 });
  }

  #connect(): void {
    if (this.#connection !== null) return;
    this.#connection = this.#at.channels()?.connect(this) ?? null;
    if (this.#connection === null) this.#connectAgain();
  }

  #connectAgain(): void {
    this.#later(this.#at.world.random.between(200, 3_000), 'connects its job again', () => this.#connect());
  }

  #later(waitMs: number, what: string, run: () => void): void {
    this.#at.world.after(waitMs, {
      place: 'host',
      what: `${this.workerId} ${what}`,
      run: () => {
        if (this.#isAlive) run();
      },
    });
  }
}
