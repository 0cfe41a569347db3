/** A simulated zygote: it imports its agent's file, connects, and forks workers, or it fails in one of many ways. */
import type { WorkerId } from '../../../src/core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { Connection, Peer, SimChannels } from './channels.ts';
import type { Exit, Host, Run } from './host.ts';
import type { Random } from './random.ts';
import { fateOf } from './random.ts';
import type { World } from './world.ts';

interface ZygoteWorld {
  readonly world: World;
  readonly host: Host;
  channels(): SimChannels | null;
}

/** A zygote that the supervisor does not know ends after this time. */
const UNKNOWN_MS = 60_000;

export class SimZygote implements Peer {
  readonly run: Run;
  readonly workerId: WorkerId;
  readonly token: string;
  readonly kit = 'python-zygote';
  readonly bornMs: number;
  readonly #at: ZygoteWorld;
  readonly #fate: Random;
  readonly #isUnfit: boolean;
  #connection: Connection | null = null;
  #isHung = false;
  #refusedMs: number | null = null;

  constructor(at: ZygoteWorld, run: Run) {
    this.#at = at;
    this.run = run;
    this.workerId = run.id;
    this.token = run.env.CURFEW_TOKEN ?? '';
    this.bornMs = at.world.nowMs;
    this.#fate = fateOf(run.id, { factor: 37, first: 3 });
    const agent = fateOf(`${run.profile.agent}-${at.world.seed}`, { factor: 43, first: 1 });
    this.#isUnfit = agent.chance(0.08) || this.#fate.chance(0.04);
  }

  start(): void {
    const fate = this.#fate;
    if (fate.chance(0.08)) {
      this.#later(fate.wait(3_000, 20_000), 'fails its import', () => this.end({ code: 1, signal: null }));
      return;
    }
    if (fate.chance(0.05)) return;
    this.#later(fate.wait(4_000, 25_000), 'is at its fork point', () => this.#connect());
  }

  end(exit: Exit): void {
    this.#at.host.endMain(this.run, exit, 'host');
  }

  /** Its main process is gone. */
  gone(): void {
    if (this.#connection !== null) this.#at.channels()?.hangUp(this.#connection);
    this.#connection = null;
  }

  hear(message: SupervisorMessage): void {
    if (!this.#isAlive) return;
    if (message.type === 'fork') this.#fork(message.folder as WorkerId);
    if (message.type !== 'welcome') return;
    this.#refusedMs = null;
    if (message.job !== null)
      this.#at.world.fail(
        'workers-get-only-their-own-access: a zygote holds no session',
        `${this.workerId} is welcomed with a job`,
      );
    this.#say(this.#isUnfit ? { type: 'failed', message: 'a thread is left' } : { type: 'ready' });
  }

  offered(): void {}
  admitted(): void {}
  terminated(): void {}

  lost(): void {
    this.#connection = null;
    const { nowMs } = this.#at.world;
    this.#refusedMs ??= nowMs;
    if (nowMs - this.#refusedMs > UNKNOWN_MS) this.end({ code: 0, signal: null });
    else this.#connectAgain();
  }

  get #isAlive(): boolean {
    return this.run.main?.alive === true && !this.run.doomed && !this.#isHung;
  }

  /** The order may be lost at each of its steps. */
  #fork(id: WorkerId): void {
    const fate = this.#fate;
    if (fate.chance(0.03)) {
      this.end({ code: null, signal: 'SIGSEGV' });
      return;
    }
    if (fate.chance(0.03)) {
      this.#isHung = true;
      return;
    }
    // Its child dies.
    if (fate.chance(0.03)) return;
    const isSlow = fate.chance(0.08);
    const takeMs = isSlow ? fate.between(1_500, 2_500) : fate.wait(10, 300);
    const claimMs = fate.chance(0.05) ? fate.between(2_000, 9_000) : fate.wait(2, 40);
    const dies = fate.chance(0.03);
    const { bootId } = this.#at.world;
    this.#at.world.after(takeMs, {
      place: 'host',
      what: `a child of ${this.workerId} takes the order for ${id}`,
      run: () => {
        if (this.#at.world.bootId !== bootId) return;
        const run = this.#at.host.takeOrder(id, this.workerId, claimMs);
        if (run !== null && dies) this.#at.host.killShim(run);
      },
    });
  }

  #say(message: WorkerMessage): void {
    if (this.#connection !== null && this.#isAlive)
      this.#at.channels()?.sendFromWorker(this.#connection, message);
  }

  #connect(): void {
    if (this.#connection !== null) return;
    this.#connection = this.#at.channels()?.connect(this) ?? null;
    if (this.#connection === null) this.#connectAgain();
  }

  #connectAgain(): void {
    this.#later(this.#at.world.random.between(50, 2_000), 'connects again', () => this.#connect());
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
