/** A host whose curfew is upgraded in place. LiveKit server, callers and agents are real. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { AGENT_NAME, profiles } from './agents.ts';
import { Installation } from './installation.ts';

/** A loaded machine takes a minute to start a dozen agents at once. */
const START_MS = 100_000;

/** LiveKit's number for the kind of participant that is an agent. */
const AGENT_KIND = 4;

/** The place of an agent in its room. LiveKit gives a new sid to an agent that joins again. */
export interface Seat {
  readonly sid: string;
  readonly joinedAtMs: bigint;
}

export class Host {
  readonly livekit: LiveKit;
  readonly callers: Callers;
  readonly daemon: Daemon;
  readonly #installation: Installation;
  readonly #finish: string;
  /** Profiles that keep a warm worker. */
  readonly warm: readonly string[];

  private constructor(livekit: LiveKit, warm: readonly string[]) {
    this.livekit = livekit;
    this.warm = warm;
    this.callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-upgrade-'));
    this.#installation = new Installation(dir);
    this.#finish = join(dir, 'finish');
    this.daemon = new Daemon({
      dir,
      main: this.#installation.main,
      // Because: the cache that all tests share would keep entries for a folder that never comes again.
      env: { NODE_COMPILE_CACHE: join(dir, 'compile') },
      config: {
        ...livekit.config(join(dir, 'c.sock')),
        presence: { poll_interval: '500ms' },
        limits: { sessions: 50, per_user: 1, queue_timeout: '10m', start_rate: '100/s' },
        shutdown: { on_term: 'leave' },
        agents: profiles(this.#installation.kits, this.#finish, warm),
      },
    });
  }

  /** The host runs the previous release, or this tree. */
  static async start(warm: readonly string[], version: 'previous' | 'new' = 'previous'): Promise<Host> {
    const host = new Host(await LiveKit.start(), warm);
    try {
      if (version === 'previous') host.installPrevious();
      else host.installNew();
      await host.daemon.start();
      return host;
    } catch (error) {
      await host.close();
      throw error;
    }
  }

  /** Puts the previous release in the place of the installed files. The supervisor that runs goes on. */
  installPrevious(): void {
    this.#installation.install(inject('previous'));
    this.#setLoadLimits('');
  }

  /** Puts this tree in the place of the installed files. The supervisor that runs goes on. */
  installNew(): void {
    this.#installation.install(ROOT);
    this.#setLoadLimits('  cpu: off\n  memory_free: off\n');
  }

  /** Because: the machine of the tests is at full load, and version 0.1.0 does not know these keys. */
  #setLoadLimits(lines: string): void {
    const { configPath } = this.daemon;
    const text = readFileSync(configPath, 'utf8').replace(/^ {2}(cpu|memory_free): off\n/gm, '');
    writeFileSync(
      configPath,
      text.replace(/^limits:\n/m, (found) => found + lines),
    );
  }

  /** Does the work of a hook. A failure shows what the supervisor and its workers said. */
  async explained(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${this.daemon.said()}`, {
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    this.callers.kill();
    await this.daemon.close();
    await this.livekit.close();
  }

  /** Lets every agent finish its teardown. */
  finish(): void {
    writeFileSync(this.#finish, '');
  }

  /** The output of a command of the installed version. */
  cli(...args: readonly string[]): Promise<string> {
    return this.#installation.run(this.daemon.socket, ...args);
  }

  async show(id: string): Promise<SessionView> {
    return JSON.parse(await this.cli('--json', 'show', id)) as SessionView;
  }

  /** Each session by its id. */
  async listAll(): Promise<ReadonlyMap<string, SessionView>> {
    const { sessions } = JSON.parse(await this.cli('--json', 'list', '--all')) as { sessions: SessionView[] };
    return new Map(sessions.map((one) => [one.id, one]));
  }

  /** Waits until some agent has printed the text. */
  printed(text: string | RegExp): Promise<unknown> {
    return until(`an agent prints ${text}`, () => this.daemon.workerLogs().match(text) !== null, START_MS);
  }

  async #capacity(): Promise<CapacityView> {
    return (await this.daemon.get<CapacityView>('/v1/capacity')).body;
  }

  poolsAreFull(): Promise<unknown> {
    const isFull = async () => {
      const { warm } = await this.#capacity();
      return warm.length === this.warm.length && warm.every((one) => one.ready === 1);
    };
    return until('every pool is full', isFull, START_MS);
  }

  /** All processes of the workers that wait for a call. */
  async warmPids(): Promise<number[]> {
    const { body } = await this.daemon.get<{ sessions: SessionView[] }>('/v1/sessions?state=open');
    const workers = marked(this.daemon.instanceId());
    const taken = workers.filter(({ pid }) => body.sessions.some((one) => one.pid === pid));
    return workers
      .filter(({ worker }) => worker.startsWith('warm-') && !taken.some((one) => one.worker === worker))
      .map(({ pid }) => pid);
  }

  /** Waits until the session is live, and the record on disk says so. */
  async begin(agent: string, room: string, more: object = {}): Promise<SessionView> {
    // Because: a dozen loops of polls would take a core from the agents that start.
    const path = `/v1/sessions?wait=live&timeoutMs=${START_MS}`;
    const { body } = await this.daemon.call<SessionView>('POST', path, { agent, room, ...more });
    if (body.state !== 'live') throw new Error(`${agent} in ${room} is not live: ${JSON.stringify(body)}`);
    await this.daemon.recorded(body.id, 'live');
    return body;
  }

  /** LiveKit's own dispatch gives the room to the profile that has the agent name. */
  async beginByLiveKit(room: string): Promise<SessionView> {
    await until('the name is registered', async () =>
      (await this.#capacity()).jobs.every((one) => one.state === 'registered'),
    );
    await this.livekit.dispatches.createDispatch(room, AGENT_NAME);
    const { id } = await until('LiveKit has given the room to curfew', async () => {
      const { body } = await this.daemon.get<{ sessions: SessionView[] }>(`/v1/sessions?room=${room}`);
      return body.sessions[0];
    });
    const session = await this.daemon.reaches(id, ['live'], START_MS);
    await this.daemon.recorded(id, 'live');
    return session;
  }

  joined(room: string): Promise<Seat> {
    return until(`an agent is in ${room}`, () => this.seat(room), START_MS);
  }

  /** The agent in a room, as LiveKit lists it. `null`: no agent is there. */
  async seat(room: string): Promise<Seat | null> {
    const people = await this.livekit.rooms.listParticipants(room);
    const agent = people.find((one) => Number(one.kind) === AGENT_KIND);
    return agent === undefined ? null : { sid: agent.sid, joinedAtMs: agent.joinedAtMs };
  }
}
