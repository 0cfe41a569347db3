/**
 * Real workers, a real LiveKit and real callers, while the test kills the supervisor, workers, shims and LiveKit at random.
 * At the end the test reads the processes that are left from /proc, without curfew. Every session must have a true reason.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';
import { startBystanders } from './bystanders.ts';
import type { Dice } from './dice.ts';
import { dice } from './dice.ts';

export interface ChaosOptions {
  readonly sessions: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

export interface ChaosResult {
  readonly violations: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  readonly seconds: number;
}

const AT_ONCE = 40;
const CALLS_AT_ONCE = 3;
/** In one of this many deaths of LiveKit all callers die, too. In the others they try to reconnect. */
const FRESH_CALLERS = 4;
const LADDER = {
  aclose: '500ms',
  disconnect: '500ms',
  term: '500ms',
  kill: '5s',
  remove_agent: '2s',
  close_room: '2s',
};
const fixture = (name: string) => join(ROOT, 'test/fixtures', name);
const common = {
  ladder: LADDER,
  wrap_up: '0s',
  agent_absent: '24h',
  no_caller: '24h',
  callers_left: '100ms',
  callers_lost: '1s',
  start_timeout: '120s',
};

/** `weight`: how often the kind comes. `ends`: the reasons of a session that is left alone; empty: it never ends. */
const KINDS: Readonly<
  Record<string, { weight: number; ends: readonly string[]; agent: Record<string, unknown> }>
> = {
  plain: { weight: 8, ends: [], agent: { command: ['sleep', '10000'] } },
  done: { weight: 3, ends: ['completed'], agent: { command: ['sh', '-c', 'sleep 0.7; exit 0'] } },
  crashes: { weight: 3, ends: ['crashed'], agent: { command: ['sh', '-c', 'sleep 0.5; exit 3'] } },
  stubborn: { weight: 3, ends: [], agent: { command: [fixture('workers/ignores-term.sh')] } },
  escapes: {
    weight: 2,
    ends: [],
    agent: { command: ['python3', '-S', '-E', fixture('workers/double-fork.py'), 'x'] },
  },
  leaves: {
    weight: 2,
    ends: [],
    agent: { command: ['python3', '-S', '-E', fixture('workers/setsid-grandchild.py'), 'x'] },
  },
  python: {
    weight: 2,
    ends: [],
    agent: { command: ['python3', '-S', '-E', join(ROOT, 'bench/beats.py')], protocol: 'curfew' },
  },
  node: {
    weight: 1,
    ends: [],
    agent: { command: [process.execPath, fixture('kits/agent.mjs')], protocol: 'curfew' },
  },
};

interface Tracked {
  readonly id: string;
  readonly kind: string;
  /** A caller joined its room. */
  readonly called: boolean;
  /** The reasons that the test's own deeds allow. `worker_lost?`: allowed only if the worker also ended. */
  readonly allowed: Set<string>;
}

export async function runChaos({ sessions, seed, say }: ChaosOptions): Promise<ChaosResult> {
  const run = await Chaos.begin(seed, say);
  try {
    return await run.play(sessions);
  } finally {
    await run.close();
  }
}

class Chaos {
  readonly #daemon: Daemon;
  readonly #livekit: LiveKit | null;
  #callers: Callers | null;
  readonly #dice: Dice;
  readonly #say: (line: string) => void;
  readonly #open = new Map<string, Tracked>();
  readonly #all: Tracked[] = [];
  readonly #violations = new Set<string>();
  readonly #counts: Record<string, number> = {};
  readonly #instance: string;
  readonly #bystanders: ReturnType<typeof startBystanders>;
  #isWatching = true;

  private constructor(parts: {
    daemon: Daemon;
    livekit: LiveKit | null;
    seed: number;
    say: (line: string) => void;
  }) {
    this.#daemon = parts.daemon;
    this.#livekit = parts.livekit;
    this.#callers = parts.livekit === null ? null : new Callers(parts.livekit);
    this.#dice = dice(parts.seed);
    this.#say = parts.say;
    this.#instance = parts.daemon.instanceId();
    this.#bystanders = startBystanders(this.#instance);
  }

  static async begin(seed: number, say: (line: string) => void): Promise<Chaos> {
    const livekit = HAS_LIVEKIT ? await LiveKit.start() : null;
    const agents = Object.fromEntries(
      Object.entries(KINDS).map(([name, { agent }]) => [name, { ...common, ...agent }]),
    );
    const daemon = new Daemon({
      config: {
        limits: { sessions: 500, per_user: 'off', start_rate: '1000/s', queue: 500 },
        log: { level: 'warn' },
        agents,
        ...(livekit === null ? {} : { livekit: livekit.config('').livekit }),
      },
    });
    await daemon.start();
    return new Chaos({ daemon, livekit, seed, say });
  }

  async play(sessions: number): Promise<ChaosResult> {
    const fromMs = performance.now();
    const watch = this.#watchForDoubles();
    while (this.#all.length < sessions) await this.#act();
    await this.#releaseAll();
    this.#isWatching = false;
    await watch;
    const reasons = await this.#judge();
    await this.#takeStock();
    return {
      violations: [...this.#violations],
      counts: { ...this.#counts, sessions: this.#all.length, bystanders: this.#bystanders.count },
      reasons,
      seconds: Math.round((performance.now() - fromMs) / 100) / 10,
    };
  }

  async close(): Promise<void> {
    this.#isWatching = false;
    this.#bystanders.close();
    this.#callers?.kill();
    const left = marked(this.#instance).map((one) => one.pid);
    await this.#daemon.close();
    killAll(left);
    await this.#livekit?.close();
  }

  async #act(): Promise<void> {
    if (this.#open.size < AT_ONCE) return this.#dispatchSome();
    const roll = this.#dice.below(100);
    if (roll < 55) return this.#release();
    if (roll < 75) return this.#killWorker();
    if (roll < 82) return this.#killShim();
    if (roll < 90) return this.#hangUp();
    if (roll < 97) return this.#killSupervisor();
    return this.#killLiveKit();
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
    const total = this.#all.length;
    if (what === 'dispatched' && total % 500 === 0) this.#say(`${total} sessions dispatched`);
  }

  async #dispatchSome(): Promise<void> {
    await Promise.all(Array.from({ length: 5 }, () => this.#dispatch()));
    await this.#forgetEnded();
  }

  async #dispatch(): Promise<void> {
    const kind = this.#dice.weighted(KINDS);
    const id = `c${this.#all.length}`;
    const calls = [...this.#open.values()].filter((one) => one.called).length;
    const called =
      kind === 'plain' && this.#callers !== null && calls < CALLS_AT_ONCE && this.#dice.below(10) === 0;
    const tracked: Tracked = { id, kind, called, allowed: new Set() };
    this.#all.push(tracked);
    this.#count('dispatched');
    if (called) {
      await this.#callers?.join(id, 'caller').catch(() => tracked.allowed.add('no_caller_joined'));
      this.#count('callers');
    }
    await this.#insist('dispatch', () => this.#daemon.dispatch({ room: id, id, agent: kind }), [200, 201]);
    this.#open.set(id, tracked);
  }

  /** Repeats the request until the supervisor answers, because it may just die or start. */
  async #insist<T extends { status: number; body: unknown }>(
    what: string,
    ask: () => Promise<T>,
    good: readonly number[],
  ): Promise<T> {
    return until(
      `${what} is answered`,
      async () => {
        const answer = await ask().catch(() => null);
        if (answer === null) return null;
        if (good.includes(answer.status)) return answer;
        throw new Error(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`);
      },
      60_000,
    );
  }

  #pick(filter: (one: Tracked) => boolean = () => true): Tracked | null {
    const choice = [...this.#open.values()].filter(filter);
    return choice[this.#dice.below(choice.length)] ?? null;
  }

  async #release(): Promise<void> {
    const one = this.#pick();
    if (one === null) return;
    one.allowed.add('requested');
    this.#count('released');
    await this.#insist(
      'release',
      () => this.#daemon.call('POST', `/v1/sessions/${one.id}/release`, {}),
      [200, 202],
    );
    this.#open.delete(one.id);
  }

  /** The processes of its workers, found by their mark. */
  #processesOf({ id }: Tracked): { pid: number; isShim: boolean }[] {
    return marked(this.#instance)
      .filter((one) => one.worker.startsWith(`${id}.`))
      .map((one) => ({ pid: one.pid, isShim: one.command.includes('curfew-shim') }));
  }

  #killWorker(): void {
    const one = this.#pick();
    if (one === null) return;
    const own = this.#processesOf(one).filter((process) => !process.isShim);
    if (own.length === 0) return;
    one.allowed.add('crashed').add('worker_lost').add('completed');
    this.#count('workers killed');
    killAll(own.map((process) => process.pid));
  }

  #killShim(): void {
    const one = this.#pick();
    const shim = one === null ? undefined : this.#processesOf(one).find((process) => process.isShim);
    if (one === null || shim === undefined) return;
    // The worker goes on. Without its shim no exit status will be known.
    one.allowed.add('worker_lost?');
    this.#count('shims killed');
    killAll([shim.pid]);
  }

  async #hangUp(): Promise<void> {
    const one = this.#pick((tracked) => tracked.called);
    if (one === null) return;
    one.allowed.add('callers_left').add('room_finished');
    this.#count('hang-ups');
    await this.#callers?.leave(one.id, 'caller').catch(() => undefined);
    this.#open.delete(one.id);
  }

  async #killSupervisor(): Promise<void> {
    this.#count('supervisors killed');
    const racing = [this.#dispatch(), this.#release()];
    await pause(this.#dice.below(30));
    this.#daemon.signal('SIGKILL');
    await this.#daemon.exited();
    await this.#daemon.start();
    await Promise.all(racing);
  }

  async #killLiveKit(): Promise<void> {
    if (this.#livekit === null) return;
    this.#count('LiveKit killed');
    // The death of LiveKit ends its rooms, and their callers are gone, too.
    for (const one of this.#open.values())
      if (one.called) for (const reason of ['callers_left', 'room_finished']) one.allowed.add(reason);
    await this.#livekit.kill();
    await pause(this.#dice.below(300));
    await this.#livekit.boot();
    if (this.#dice.below(FRESH_CALLERS) > 0) return;
    // Because: callers that tried to reconnect to tens of killed servers slow down later joins of the same process.
    this.#callers?.kill();
    this.#callers = new Callers(this.#livekit);
  }

  async #forgetEnded(): Promise<void> {
    for (const one of [...this.#open.values()].filter(({ kind }) => (KINDS[kind]?.ends.length ?? 0) > 0)) {
      const session = await this.#daemon.session(one.id).catch(() => null);
      if (session !== null && session.endedAt !== null) this.#open.delete(one.id);
    }
  }

  async #releaseAll(): Promise<void> {
    const { body } = await this.#daemon.get<{ sessions: SessionView[] }>('/v1/sessions?state=open&limit=500');
    const open = new Set(body.sessions.map((one) => one.id));
    for (const one of this.#all) if (open.has(one.id)) one.allowed.add('requested');
    await this.#insist(
      'release of all',
      () => this.#daemon.call('POST', '/v1/sessions/release', { all: true }),
      [200],
    );
    await until(
      'all sessions have ended',
      async () => {
        const { body } = await this.#daemon.get<{ sessions: Record<string, number> }>('/v1/capacity');
        return Object.values(body.sessions).every((count) => count === 0);
      },
      60_000,
    );
  }

  /** Reads /proc again and again for two live workers of one session. */
  async #watchForDoubles(): Promise<void> {
    while (this.#isWatching) {
      const workers = new Map<string, Set<string>>();
      for (const { worker } of marked(this.#instance)) {
        const session = worker.replace(/\.\d+$/, '');
        workers.set(session, (workers.get(session) ?? new Set()).add(worker));
      }
      for (const [session, ids] of workers)
        if (ids.size > 1) this.#violations.add(`${session} had two workers at once: ${[...ids].join(', ')}`);
      await pause(100);
    }
  }

  async #judge(): Promise<Record<string, number>> {
    const reasons: Record<string, number> = {};
    for (const one of this.#all) {
      const session = await this.#daemon.session(one.id);
      const { reason } = session;
      reasons[reason ?? 'none'] = (reasons[reason ?? 'none'] ?? 0) + 1;
      if (!this.#isTrue(one, session))
        this.#violations.add(
          `${one.id} (${one.kind}) ended as ${reason}: ${session.evidence?.detail}; allowed reasons: ${[...one.allowed].join(', ') || 'none'}`,
        );
    }
    return reasons;
  }

  #isTrue({ kind, allowed }: Tracked, { reason }: SessionView): boolean {
    if (reason === null) return false;
    const ends = KINDS[kind]?.ends ?? [];
    // Without its shim a worker's exit status is unknown, so any end of it is `worker_lost`.
    const lost =
      allowed.has('worker_lost?') && reason === 'worker_lost' && (ends.length > 0 || allowed.has('crashed'));
    return allowed.has(reason) || ends.includes(reason) || lost;
  }

  async #takeStock(): Promise<void> {
    await until('no process is left', () => marked(this.#instance).length === 0, 10_000).catch(
      () => undefined,
    );
    for (const { pid, worker, command } of marked(this.#instance))
      this.#violations.add(`${pid} of ${worker} was left: ${command}`);
    for (const what of this.#bystanders.dead()) this.#violations.add(`a bystander was killed: ${what}`);
    if (!isAlive(this.#daemon.pid)) this.#violations.add('the supervisor ended without a kill');
  }
}
