/** Plays one call of a scenario in one way, and collects everything that an agent, a participant or LiveKit shows of it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { until } from '../support/lib/wait.ts';
import type { Scenario } from './scenarios.ts';
import type { OwnRunner } from './stage.ts';
import { Stage } from './stage.ts';
import type { Way } from './ways.ts';

/** A cold start of an agent on a machine with other work. */
const THERE_MS = 150_000;
const END_MS = 60_000;
/** LiveKit notes the end of a job a moment after its process is gone. */
const JOB_NOTE_MS = 5000;
const ASKED_MS = 10_000;
/** A runner that got TERM waits for its calls. */
const DRAIN_MS = 1000;
/** A page that is loaded again is away for some seconds. The grace of the stage's profiles is longer. */
const RELOAD_MS = 2000;
/** The call goes on after a disturbance, before the caller hangs up. */
const CALM_MS = 3000;
/**
 * Race: an AgentSession does not close itself when its caller leaves before the session has found it. In JavaScript its
 * `close` waits, under LiveKit's own runner, too, until a caller has subscribed to the agent's track.
 */
const LINK_MS = 1000;
/** A rejection must not be asked again in this time. */
const SETTLE_MS = 3000;
/** From the dispatch on. A cold start on a busy machine takes most of it. */
const MAX_DURATION_MS = 25_000;
const AGENT = 4;
/** After these acts the call goes on, and its caller hangs up later. */
const DISTURBING: ReadonlySet<Scenario['act']> = new Set([
  'reload',
  'kill_supervisor',
  'restart_livekit',
  'wait',
]);

export interface Line {
  readonly at: number;
  readonly what: string;
  readonly pid: number;
  readonly [field: string]: unknown;
}

/** LiveKit's own view of the call. */
export interface Shown {
  readonly room: string;
  readonly roomSid: string;
  readonly creationTime: string;
  readonly dispatchIds: readonly string[];
  /** The agent's participant while it is in the room. null: it never was. */
  readonly participant: unknown;
  /** The other agents in the room, such as an avatar. */
  readonly beside: readonly string[];
  /** Status and error of the job, of LiveKit's log of its end. null: it has no end. */
  readonly jobEnd: { readonly status: string; readonly error: string } | null;
  readonly jobs: number;
}

export interface Played {
  readonly way: Way;
  readonly scenario: Scenario;
  readonly agentName: string;
  readonly lines: readonly Line[];
  readonly shown: Shown;
  readonly isOver: boolean;
  readonly log: string;
  /** null: not under curfew. */
  readonly session: SessionView | null;
}

export async function playCall(stage: Stage, scenario: Scenario, way: Way): Promise<Played> {
  const call = new Call(stage, scenario, way);
  try {
    return await call.play();
  } catch (error) {
    const seen = call.lines().map(({ what }) => what);
    throw new Error(
      `${scenario.name} by ${way}: ${(error as Error).message}; seen: ${seen.join(' ')}; ${call.log().slice(-3000)}`,
      { cause: error },
    );
  } finally {
    await call.tidy();
  }
}

class Call {
  readonly #stage: Stage;
  readonly #scenario: Scenario;
  readonly #way: Way;
  readonly #room: string;
  readonly #out: string;
  #runner: OwnRunner | null = null;
  #sessionId = '';
  #dispatchId = '';

  constructor(stage: Stage, scenario: Scenario, way: Way) {
    this.#stage = stage;
    this.#scenario = scenario;
    this.#way = way;
    this.#room = `call-${scenario.name}-${way}-${Math.random().toString(36).slice(2, 8)}`;
    this.#out = join(stage.dir, `${this.#room}.jsonl`);
  }

  get #agentName(): string {
    return this.#runner?.agentName ?? Stage.agentName(this.#way, this.#scenario);
  }

  lines(): Line[] {
    if (!existsSync(this.#out)) return [];
    return readFileSync(this.#out, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  }

  async play(): Promise<Played> {
    const { livekit } = this.#stage;
    await this.#ready();
    const room = await livekit.rooms.createRoom({
      name: this.#room,
      metadata: '{"prompt":"of the room"}',
      departureTimeout: this.#scenario.roomStaysS ?? 2,
    });
    await this.#join();
    await this.#dispatch();
    const { after = 'room', lookAfter = after, act } = this.#scenario;
    await this.#wrote(lookAfter);
    const seen = await this.#look();
    const jobs = await this.#jobs();
    await this.#wrote(after);
    await this.#act(act);
    const isOver = await this.#ended();
    const session = await this.#sessionEnd();
    if (!this.#way.startsWith('http'))
      await until('LiveKit notes the end', () => this.#jobEnd() !== null, JOB_NOTE_MS).catch(() => undefined);
    return {
      way: this.#way,
      scenario: this.#scenario,
      agentName: this.#agentName,
      lines: this.lines(),
      shown: {
        room: this.#room,
        roomSid: room.sid,
        creationTime: String(room.creationTime),
        ...seen,
        ...jobs,
        jobEnd: this.#jobEnd(),
      },
      isOver,
      log: this.log(),
      session,
    };
  }

  /** Waits until so many agents of the call wrote it. */
  #wrote(what: string, times = 1): Promise<unknown> {
    const count = () => this.lines().filter((line) => line.what === what).length;
    return until(`the agent wrote ${what}`, () => count() >= times, THERE_MS + Stage.takenMs());
  }

  async #ready(): Promise<void> {
    if (this.#way !== 'livekit') {
      const daemon = await this.#stage.curfew();
      if (this.#way.endsWith('warm'))
        await until(
          'a warm worker is ready',
          async () => {
            const { body } = await daemon.get<{ warm: { agent: string; ready: number }[] }>('/v1/capacity');
            return body.warm.some(({ ready }) => ready > 0);
          },
          THERE_MS,
        );
      return;
    }
    this.#runner = await this.#stage.runnerFor(this.#scenario);
  }

  async #dispatch(): Promise<void> {
    const metadata = { out: this.#out, ...this.#scenario.script };
    const limits =
      this.#scenario.act === 'max_duration' ? { maxDurationMs: MAX_DURATION_MS + Stage.takenMs() } : {};
    if (this.#way.startsWith('http')) {
      const body = { room: this.#room, agent: this.#agentName, metadata, limits };
      const answer = await (await this.#stage.curfew()).dispatch(body);
      if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
      this.#sessionId = answer.body.id;
      return;
    }
    const options =
      this.#way === 'livekit' || this.#scenario.act !== 'max_duration' ? {} : { curfew: { limits } };
    await this.#createDispatch(JSON.stringify({ ...metadata, ...options }));
    if (this.#way !== 'livekit') this.#sessionId = await this.#findSession();
    else if (!(await this.#isAsked())) await this.#createDispatch(JSON.stringify(metadata));
  }

  async #createDispatch(metadata: string): Promise<void> {
    const { dispatches } = this.#stage.livekit;
    if (this.#dispatchId !== '') await dispatches.deleteDispatch(this.#dispatchId, this.#room);
    this.#dispatchId = (await dispatches.createDispatch(this.#room, this.#agentName, { metadata })).id;
  }

  /** LiveKit drops a job, without a retry, when the runner is busy with its own start. */
  #isAsked(): Promise<boolean> {
    return until('the agent is asked', () => this.lines().length > 0, ASKED_MS).catch(() => false);
  }

  #join(): Promise<void> {
    const { callerKind: kind } = this.#scenario;
    // Because: a JavaScript AgentSession waits for a listener of its track, and its `close` does, too.
    return this.#stage.callers.join(this.#room, 'ann', {
      listens: true,
      ...(kind === undefined ? {} : { kind }),
    });
  }

  async #findSession(): Promise<string> {
    const daemon = await this.#stage.curfew();
    return until(
      'there is a session',
      async () => {
        const { body } = await daemon.get<{ sessions: SessionView[] }>('/v1/sessions');
        return body.sessions.find(({ room }) => room === this.#room)?.id;
      },
      10_000,
    ).catch(() => '');
  }

  async #session(): Promise<SessionView> {
    return (await this.#stage.curfew()).session(this.#sessionId);
  }

  /** null: not under curfew. */
  async #sessionEnd(): Promise<SessionView | null> {
    if (this.#sessionId === '') return null;
    const isEnded = async () => {
      const session = await this.#session();
      return session.endedAt === null ? null : session;
    };
    return until('the session has ended', isEnded, END_MS + Stage.takenMs()).catch(() => this.#session());
  }

  /** The agent as every participant sees it. */
  async #look(): Promise<Pick<Shown, 'participant' | 'beside'>> {
    const all = await this.#stage.livekit.rooms.listParticipants(this.#room).catch(() => []);
    const agents = all.filter(({ kind }) => kind === AGENT);
    const agent = agents.find(({ identity }) => identity !== 'avatar');
    const beside = agents.filter((one) => one !== agent).map(({ identity }) => identity);
    return { participant: agent?.toJson({ emitDefaultValues: true } as never) ?? null, beside };
  }

  async #jobs(): Promise<Pick<Shown, 'dispatchIds' | 'jobs'>> {
    const all = await this.#stage.livekit.dispatches.listDispatch(this.#room).catch(() => []);
    return {
      dispatchIds: all.map(({ id }) => id),
      jobs: all.reduce((sum, { state }) => sum + (state?.jobs.length ?? 0), 0),
    };
  }

  async #act(act: Scenario['act']): Promise<void> {
    const { livekit, callers } = this.#stage;
    if (act !== 'none') await pause(LINK_MS);
    if (act === 'hang_up') await callers.leave(this.#room, 'ann');
    else if (act === 'delete_room') await livekit.rooms.deleteRoom(this.#room);
    else if (act === 'remove_agent')
      for (const { identity, kind } of await livekit.rooms.listParticipants(this.#room))
        if (kind === AGENT) await livekit.rooms.removeParticipant(this.#room, identity);
    await this.#disturb(act);
    if (act === 'term_main') {
      process.kill(await this.#mainPid(), 'SIGTERM');
      await pause(DRAIN_MS);
      await livekit.rooms.deleteRoom(this.#room);
    }
    const isEndedFromOutside = act === 'release' || act === 'max_duration';
    if (act === 'delete_dispatch' || (isEndedFromOutside && this.#way === 'livekit'))
      await livekit.dispatches.deleteDispatch(this.#dispatchId, this.#room);
    else if (act === 'release') await (await this.#stage.curfew()).release(this.#sessionId);
  }

  async #disturb(act: Scenario['act']): Promise<void> {
    const { livekit, callers, daemon } = this.#stage;
    if (!DISTURBING.has(act)) return;
    if (act === 'reload') {
      await pause(LINK_MS);
      await callers.leave(this.#room, 'ann');
      await pause(RELOAD_MS);
      await this.#join();
    } else if (act === 'kill_supervisor' && this.#way !== 'livekit') {
      daemon?.signal('SIGKILL');
      await daemon?.exited();
      // Because: a busy host needs more than the bound of the helper to start a supervisor.
      await daemon?.start().catch(() => undefined);
      await until(
        'the supervisor answers',
        async () => (await daemon?.get('/healthz'))?.status === 200,
        THERE_MS,
      );
    } else if (act === 'restart_livekit') {
      await livekit.kill();
      await livekit.boot();
    }
    if (this.#scenario.next?.includes(this.#way)) await this.#wrote('returned', act === 'wait' ? 1 : 2);
    await pause(CALM_MS);
    await callers.leave(this.#room, 'ann').catch(() => undefined);
  }

  async #mainPid(): Promise<number> {
    const pid = this.#runner === null ? (await this.#session()).pid : this.#runner.child.pid;
    if (pid === undefined || pid === null) throw new Error('there is no main process');
    return pid;
  }

  /** Waits until the processes of the job have ended and no agent is in the room. */
  async #ended(): Promise<boolean> {
    if (this.#scenario.hasJob === false) {
      await pause(SETTLE_MS);
      return true;
    }
    const isOver = async () =>
      this.#jobPids().length > 0 &&
      this.#jobPids().every((pid) => !lives(pid)) &&
      (this.#scenario.dies || (await this.#look()).participant === null);
    return until('the job is over', isOver, END_MS + Stage.takenMs()).catch(() => false);
  }

  #jobPids(): number[] {
    return [
      ...new Set(
        this.lines()
          .filter(({ what }) => what === 'entry')
          .map(({ pid }) => pid),
      ),
    ];
  }

  #jobEnd(): Shown['jobEnd'] {
    const ids = this.#jobIds();
    const line = this.#stage.livekit.log
      .split('\n')
      .findLast((one) => one.includes('job ended') && ids.some((id) => one.includes(id)));
    if (line === undefined) return null;
    const { status, error } = JSON.parse(line.slice(line.indexOf('{'))) as { status: string; error: string };
    return { status, error };
  }

  #jobIds(): string[] {
    const seen = this.lines().flatMap(({ job }) => {
      const id = (job as { id?: string } | undefined)?.id;
      return id === undefined ? [] : [id];
    });
    return this.#sessionId === '' ? seen : [this.#sessionId, ...seen];
  }

  /** The lines of the framework's log that name this job. */
  log(): string {
    const all = this.#runner?.output() ?? this.#stage.daemon?.workerLogs() ?? '';
    const ids = [this.#room, ...this.#jobIds()];
    return all
      .split('\n')
      .filter((line) => ids.some((id) => line.includes(id)))
      .join('\n');
  }

  /** Ends what a failed or endless call leaves. */
  async tidy(): Promise<void> {
    const { livekit } = this.#stage;
    if (this.#sessionId !== '')
      await (await this.#stage.curfew()).release(this.#sessionId).catch(() => undefined);
    await livekit.rooms.deleteRoom(this.#room).catch(() => undefined);
    for (const pid of this.#jobPids()) if (this.#way === 'livekit' && lives(pid)) endNow(pid);
  }
}

function endNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // The process has ended.
  }
}

/** A zombie has ended. */
function lives(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
