/**
 * What really happened to each session, kept beside curfew: its records as they were wanted and committed,
 * its workers, what was said and asked. The checks compare this with what curfew says and does.
 */
import type { DispatchRequest, SessionView } from '../../src/api/session-schemas.ts';
import type { SessionId, WorkerId } from '../../src/core/ids.ts';
import { isWarmId, sessionId } from '../../src/core/ids.ts';
import type { WorkerMessage } from '../../src/core/model/control-protocol.ts';
import type { Ending, Session } from '../../src/core/model/session.ts';
import { isIn, isReplacing, workerOf } from '../../src/core/model/session.ts';
import type { SessionRecord } from '../../src/core/model/session-record.ts';
import { fromRecord } from '../../src/core/model/session-record.ts';
import type { DisconnectReason, Participant } from '../../src/core/rooms/presence.ts';
import { CurfewError, messageOf } from '../../src/lib/errors.ts';
import { WATCH } from '../../src/lib/limits/livekit-limits.ts';
import { RECORDING } from '../../src/lib/limits/storage-limits.ts';
import type { DurableWrite } from '../../src/ports/registry.ts';
import type { SpawnRequest } from '../../src/ports/workers.ts';
import type { MessageWatch } from './channels.ts';
import { tokenOf } from './channels.ts';
import type { Run } from './host.ts';
import type { Life } from './life.ts';
import type { DiskWatch } from './registry.ts';
import type { RoomsWatch } from './rooms.ts';
import type { Sim } from './sim.ts';
import type { SweepWatch } from './table.ts';
import { checkReason } from './truth.ts';
import type { SignalWatch } from './workers.ts';

export interface Case {
  readonly id: SessionId;
  readonly spec: Session['spec'];
  readonly bootId: string;
  readonly seenMs: number;
  /** The newest state that curfew wanted on record, and since when it waits for that. */
  wanted: Session;
  wantedMs: number;
  waitsSinceMs: number | null;
  committed: Session | null;
  acknowledged: boolean;
  /** Refused, while its record was late: that is on its way out. */
  discarding: boolean;
  /** First start, as first seen. */
  startedMs: number | null;
  requestedMs: number | null;
  /** It must be on its way out since then; a request that died with its supervisor binds nobody. */
  dueMs: number | null;
  closingMs: number | null;
  ending: Ending | null;
  /** Effects went on without a record, and then the supervisor died: what it knew is lost. */
  excused: boolean;
  lastHeardMs: number;
  lastActivityMs: number;
  readyHeardMs: number | null;
  closedHeardMs: number | null;
  errorsHeard: number;
  /** Reported in a row without a success between them. */
  errorsInRow: number;
  errorMs: number;
  memoryMs: number | null;
  /** When it last had an ending under way that others must wait for. */
  busyMs: number;
  keptMs: number;
}

export interface Departure {
  readonly atMs: number;
  readonly person: Participant;
  readonly reason: DisconnectReason;
}

const INFERRED = [
  'callers_left',
  'not_answered',
  'no_caller_joined',
  'no_active_stream',
  'agent_absent',
  'idle_timeout',
  'unresponsive',
  'error_limit',
];

export class Ledger implements DiskWatch, SignalWatch, MessageWatch, RoomsWatch, SweepWatch {
  readonly sim: Sim;
  readonly cases = new Map<SessionId, Case>();
  readonly departures = new Map<string, Departure[]>();
  #readyMs = 0;
  reboots = 0;
  /** Times of inferred endings in this life. */
  readonly #inferred: number[] = [];
  /** Something changed that the slower checks want to see. */
  dirty = true;

  constructor(sim: Sim) {
    this.sim = sim;
  }

  get #world() {
    return this.sim.world;
  }

  /** Its first record is on its way. */
  isArriving(id: string): boolean {
    const one = this.of(id);
    return (
      one === undefined ||
      one.committed === null ||
      one.waitsSinceMs !== null ||
      this.#world.nowMs - Math.max(one.wantedMs, this.anewMs) < 10_000
    );
  }

  /** Since when nothing was missed: a take-over, or a gap. */
  get anewMs(): number {
    return Math.max(this.#readyMs, this.#world.gapEndMs);
  }

  /** No deadline of silence can have begun before: a supervisor's start, or the end of a gap. */
  get countedMs(): number {
    return Math.max(this.sim.generation?.life.bornMs ?? 0, this.#world.gapEndMs);
  }

  anew(): void {
    this.#readyMs = this.#world.nowMs;
  }

  of(id: string): Case | undefined {
    return this.cases.get(sessionId(id));
  }

  ofWorker(id: WorkerId): Case | undefined {
    const run = isWarmId(id) ? this.sim.host.runs.get(id) : undefined;
    return this.of(isWarmId(id) ? (run?.spec?.id ?? '') : id.slice(0, id.lastIndexOf('.')));
  }

  wanted(session: Session): void {
    this.dirty = true;
    const { nowMs } = this.#world;
    const known = this.cases.get(session.spec.id);
    const one = known === undefined || isForgotten(known, session) ? this.#open(session) : known;
    const before = one.wanted;
    one.wanted = session;
    one.wantedMs = nowMs;
    one.waitsSinceMs ??= nowMs;
    one.discarding = false;
    this.#world.note('curfew', `${session.spec.id} is ${phaseText(session)}`);
    if (
      known !== undefined &&
      before.phase.name === 'ended' &&
      session.phase.name !== 'ended' &&
      !one.excused
    )
      this.#fail('5 an ended session never lives again', `${one.id} ended and is ${session.phase.name}`);
    // Of a dispatch that was refused and came again under its id, the last one counts.
    if (isIn(session, 'starting')) one.startedMs = this.#world.ofBoot(session.startedAt.bootMs);
    if (session.phase.name === 'closing' || session.phase.name === 'ended')
      this.#ends(one, session, session.phase.ending);
    if (session.phase.name === 'ended') this.#ended(one, session);
  }

  committed({ session }: DurableWrite): void {
    this.dirty = true;
    const one = this.cases.get(session.spec.id);
    if (one === undefined) return;
    if (one.committed?.phase.name === 'ended' && session.phase.name !== 'ended')
      this.#fail('5 an ended session never lives again', `${one.id} is recorded as ${session.phase.name}`);
    one.committed = session;
    this.#world.note('disk', `${one.id} is ${phaseText(session)}`);
    if (one.wanted === session) one.waitsSinceMs = null;
  }

  discarding(id: SessionId): void {
    const one = this.cases.get(id);
    if (one !== undefined) one.discarding = true;
  }

  discarded(id: SessionId): void {
    const one = this.cases.get(id);
    if (one !== undefined) one.committed = null;
  }

  spawning({ workerId, env, record }: SpawnRequest): void {
    // A warm one is nobody's yet.
    if (isWarmId(workerId)) return;
    const session = fromRecord((record as { session: SessionRecord }).session);
    const { id, room } = session.spec;
    const { tables } = this.sim.disk;
    const recorded = tables.sessions.get(id);
    if (recorded === undefined || workerOf(recorded)?.id !== workerId)
      this.#fail(
        'order: a spawn needs its record',
        `${workerId} is started, recorded is ${recorded === undefined ? 'nothing' : phaseText(recorded)}`,
      );
    if (tables.claims.get(session.spec.claim) !== id)
      this.#fail('order: a spawn needs its claim', `${workerId} is started without the claim on record`);
    if (
      env.CURFEW_TOKEN !== tokenOf(workerId) ||
      env.LIVEKIT_TOKEN !== JSON.stringify([room.name, session.spec.agentIdentity]) ||
      env.CURFEW_ROOM !== room.name
    )
      this.#fail('7 tokens for its own room only', `${workerId} gets ${JSON.stringify(env)}`);
  }

  /** Only what is being torn down is signalled. */
  signalled(id: WorkerId, signal: string): void {
    const one = this.ofWorker(id);
    const run = this.sim.host.runs.get(id);
    // One that is still warm is the pool's to let go, and what a dead one left is nobody's.
    if (isWarmId(id) && (run?.spec == null || run.end !== null)) return;
    const state = one === undefined ? null : (this.sim.generation?.supervisor.sessions.state(one.id) ?? null);
    const phase = state?.phase;
    const live = phase?.name === 'live' && phase.work.kind === 'running' && phase.work.worker.id === id;
    if (phase === undefined || live || phase.name === 'starting' || phase.name === 'queued')
      this.#fail(
        '2 nothing is signalled that should run',
        `${signal} to ${id}, whose session is ${phase?.name ?? 'unknown'}`,
      );
  }

  /** A sweep ends only what no session is at work with. */
  swept(run: Run): void {
    run.killed = true;
    if (run.spec === null) return;
    const one = this.cases.get(run.spec.id);
    const name = one?.wanted.phase.name;
    const current = one === undefined ? null : workerOf(one.wanted);
    if ((name === 'live' || name === 'starting') && current?.id === run.id)
      this.#fail('2 a sweep touches no live session', `${run.id}, whose session is ${name}`);
  }

  delivered(id: WorkerId, message: WorkerMessage): void {
    const one = this.ofWorker(id);
    if (one === undefined) return;
    const { nowMs } = this.#world;
    if (message.type !== 'dumped') one.lastHeardMs = nowMs;
    if (message.type === 'activity') one.lastActivityMs = Math.max(one.lastActivityMs, nowMs);
    if (message.type === 'ready') one.readyHeardMs = nowMs;
    if (message.type === 'closed') one.closedHeardMs = nowMs;
    // What a worker says on its way out follows from its end.
    if (isReplacing(one.wanted)) return;
    if (message.type === 'ok') one.errorsInRow = 0;
    if (message.type !== 'error') return;
    one.errorsHeard += 1;
    one.errorsInRow = nowMs - one.errorMs > 59_000 ? 1 : one.errorsInRow + 1;
    one.errorMs = nowMs;
  }

  accepted(id: WorkerId): void {
    const one = this.ofWorker(id);
    if (one !== undefined) one.lastHeardMs = this.#world.nowMs;
  }

  removing({ room, identity }: Parameters<RoomsWatch['removing']>[0]): void {
    for (const run of this.sim.host.alive) {
      const { spec } = run;
      if (
        spec === null ||
        spec.room.name !== room.name ||
        spec.agentIdentity !== identity ||
        run.main?.alive !== true
      )
        continue;
      const phase = this.sim.generation?.supervisor.sessions.state(spec.id)?.phase;
      if (phase?.name === 'live' || phase?.name === 'starting')
        this.#fail(
          'room: no agent at work is removed',
          `${identity} of ${run.id} is removed while it is ${phase.name}`,
        );
    }
  }

  closing({ room }: Parameters<RoomsWatch['closing']>[0]): void {
    for (const run of this.sim.host.alive) {
      const one = run.spec === null ? undefined : this.cases.get(run.spec.id);
      if (
        run.spec === null ||
        one === undefined ||
        run.spec.room.name !== room.name ||
        run.main?.alive !== true
      )
        continue;
      // The question was on its way to LiveKit when the session came.
      if (this.#world.nowMs - Math.max(one.seenMs, this.anewMs) < WATCH.closeMs) continue;
      const phase = this.sim.generation?.supervisor.sessions.state(run.spec.id)?.phase;
      if (phase?.name === 'live' || phase?.name === 'starting')
        this.#fail('room: no room with a session at work is closed', `${room.name}, where ${run.id} works`);
    }
  }

  born(run: Run): void {
    if (run.spec === null) return;
    for (const other of this.sim.host.alive)
      if (other !== run && other.spec?.claim === run.spec.claim && this.sim.host.members(other).length > 0)
        this.#fail('1 one live worker per claim', `${run.id} begins while ${other.id} lives`);
  }

  /** A warm worker has its room now. */
  assigned(run: Run, session: string): void {
    const one = this.of(session);
    if (run.spec !== null && run.spec.id !== session)
      this.#fail('1 a warm worker has one session', `${run.id} of ${run.spec.id} is given ${session}`);
    if (one === undefined || run.spec !== null) return;
    run.spec = one.spec;
    this.born(run);
  }

  acknowledged(asked: DispatchRequest, view: SessionView, created: boolean): void {
    const one = this.of(view.id);
    if (one === undefined || one.committed === null)
      this.#fail('order: what is accepted is on record', `${view.id} was accepted`);
    else one.acknowledged = true;
    if (asked.id !== undefined && asked.id !== view.id)
      this.#fail('idempotence', `${asked.id} gave ${view.id}`);
    this.#world.note(
      'person',
      `dispatch of ${view.room}: ${created ? 'new' : 'known'} ${view.id} ${view.state}`,
    );
  }

  refused(asked: DispatchRequest, error: unknown): void {
    const code = error instanceof CurfewError ? error.code : 'none';
    this.#world.note('person', `dispatch of ${asked.room}: ${messageOf(error)}`);
    if (!['room_taken', 'at_capacity', 'id_conflict', 'registry_unavailable', 'stopping'].includes(code))
      this.#fail('a refusal has its reason', messageOf(error));
  }

  requested(id: string): void {
    const one = this.of(id);
    if (one === undefined) return;
    one.requestedMs ??= this.#world.nowMs;
    one.dueMs ??= this.#world.nowMs;
  }

  /** It was not taken in yet when its release was asked for. */
  notFound(id: string): void {
    const one = this.of(id);
    if (one !== undefined) one.dueMs = null;
  }

  kept(id: string, forMs: number): void {
    const one = this.of(id);
    if (one === undefined) return;
    one.keptMs = this.#world.nowMs;
    one.lastActivityMs = one.keptMs + Math.max(0, forMs - one.spec.limits.activityIdleTimeoutMs);
  }

  out(room: string, person: Participant, reason: DisconnectReason): void {
    const known = this.departures.get(room) ?? [];
    known.push({ atMs: this.#world.nowMs, person, reason });
    this.departures.set(room, known);
    const agent = [...this.sim.agents.values()].find(
      (one) => one.identity === person.identity && one.room === room && one.run.main?.alive === true,
    );
    const told = reason === 'room_closed' || reason === 'room_deleted' || reason === 'participant_removed';
    if (agent !== undefined && told && this.#world.random.chance(0.5))
      this.#world.after(this.#world.random.wait(1_000, 20_000), {
        place: 'host',
        what: `${agent.workerId} ends with its room`,
        run: () => agent.end({ code: 0, signal: null }),
      });
  }

  logged(level: string, fields: object, message: string): void {
    const text = JSON.stringify(fields) + message;
    this.#world.note('log', `${level} ${text}`);
    if (/\+4930|caller-|metadata-marker|token-of/.test(text))
      this.#fail('7 no rooms, people or secrets in the log', text);
    if (message.startsWith('an event of a session failed')) this.#fail('no event fails', text);
  }

  rebooted(): void {
    this.reboots += 1;
  }

  /** What was neither committed nor acted upon never happened; what was acted upon without a record is forgiven. */
  died(_life: Life, _where: string): void {
    this.#inferred.length = 0;
    const { nowMs } = this.#world;
    for (const one of this.cases.values()) {
      // What was heard last may not be on record.
      if (one.waitsSinceMs !== null || nowMs - one.errorMs < 6_000) one.errorsInRow = 0;
      one.dueMs = null;
      one.discarding = false;
      if (nowMs - one.keptMs < 1_000 || one.waitsSinceMs !== null)
        one.lastActivityMs = Math.min(one.lastActivityMs, nowMs - 2_000);
      const worker = one.committed === null ? null : workerOf(one.committed);
      if (one.committed?.phase.name !== 'live' || worker?.readyByMs != null) one.readyHeardMs = null;
      if (one.waitsSinceMs === null) continue;
      const wentOn =
        nowMs - one.waitsSinceMs >= RECORDING.patienceMs - 5 || this.sim.disk.troubleMs >= one.waitsSinceMs;
      if (wentOn) one.excused = true;
      one.waitsSinceMs = null;
      one.wanted = one.committed ?? one.wanted;
      one.ending = one.committed === null ? null : endingOf(one.committed);
      if (one.committed === null || one.ending === null) one.closingMs = null;
    }
  }

  #open(session: Session): Case {
    const { nowMs, bootId } = this.#world;
    const one: Case = {
      id: session.spec.id,
      spec: session.spec,
      bootId,
      seenMs: nowMs,
      wanted: session,
      wantedMs: nowMs,
      waitsSinceMs: nowMs,
      committed: null,
      acknowledged: false,
      discarding: false,
      startedMs: null,
      requestedMs: null,
      dueMs: null,
      closingMs: null,
      ending: null,
      excused: false,
      lastHeardMs: nowMs,
      lastActivityMs: nowMs,
      readyHeardMs: null,
      closedHeardMs: null,
      errorsHeard: 0,
      errorsInRow: 0,
      errorMs: 0,
      memoryMs: null,
      busyMs: 0,
      keptMs: 0,
    };
    this.#expectFree(one);
    this.cases.set(one.id, one);
    return one;
  }

  /** Whoever is taken in finds its room free, or on its way to be. */
  #expectFree({ id, spec }: Case): void {
    for (const other of this.cases.values()) {
      const { name } = other.wanted.phase;
      if (other.spec.claim !== spec.claim || other.committed === null) continue;
      if (other.excused || other.discarding) continue;
      if (name !== 'closing' && name !== 'ended')
        this.#fail('1 a room that is taken is refused', `${id} is taken in, ${other.id} is ${name}`);
    }
  }

  #ends(one: Case, session: Session, ending: Ending): void {
    one.closingMs ??= this.#world.nowMs;
    const first = one.ending;
    one.ending = ending;
    if (one.excused) return;
    if (first !== null && first.reason !== ending.reason && ending.reason !== 'unkillable')
      this.#fail('the first cause stays', `${one.id} ended as ${first.reason}, and now as ${ending.reason}`);
    if (first?.reason === ending.reason) return;
    this.#world.note('curfew', `${one.id} ends: ${ending.reason} (${ending.cause}) ${ending.detail ?? ''}`);
    const lie = checkReason(this.sim, one, session, ending);
    if (lie !== null)
      this.#fail(
        '4 every ending has a truthful reason',
        `${one.id} ${ending.reason} (${ending.cause}; ${ending.detail}): ${lie}`,
      );
    // A hang-up that was told is not inferred.
    const live = session.phase.name === 'closing' && session.liveAt !== null;
    // Nor is a crash: it was seen.
    const seen = ending.reason === 'error_limit' && ending.cause !== 'error';
    if (live && !seen && INFERRED.includes(ending.reason) && !ending.detail?.includes('hung up'))
      this.#countInferred(ending);
  }

  /** More than five and more than a fifth of the live ones within half a minute are held. */
  #countInferred(ending: Ending): void {
    const { nowMs } = this.#world;
    this.#inferred.push(nowMs);
    const recent = this.#inferred.filter((atMs) => nowMs - atMs < 29_000).length;
    const all = this.sim.generation?.supervisor.sessions.all() ?? [];
    const live = all.filter((other) => other.phase.name === 'live').length + recent;
    if (recent > 5 && recent > 0.2 * live + 1)
      this.#fail('4 no mass end', `${recent} of ${live} ended within 30 s, the last as ${ending.reason}`);
  }

  #ended(one: Case, session: Session): void {
    const { phase } = session;
    if (phase.name !== 'ended') return;
    const unkillable = phase.ending.reason === 'unkillable';
    for (const run of this.sim.host.alive)
      if (run.spec?.id === one.id && !unkillable && this.sim.host.members(run).length > 0)
        this.#fail('5 what has ended has no worker', `${one.id} ended while ${run.id} lives`);
  }

  #fail(rule: string, detail: string): void {
    this.#world.fail(rule, detail);
  }
}

function endingOf({ phase }: Session): Ending | null {
  return phase.name === 'closing' || phase.name === 'ended' ? phase.ending : null;
}

function phaseText(session: Session): string {
  const { phase } = session;
  switch (phase.name) {
    case 'live':
      return phase.work.kind === 'running'
        ? `live with ${phase.work.worker.id}`
        : `live, replacing ${phase.work.old?.worker.id ?? 'nothing'}${phase.work.old === null ? '' : ` (${phase.work.old.step})`}`;
    case 'starting':
      return `starting ${phase.worker.id}`;
    case 'closing':
      return `closing ${phase.ladder.process.step}/${phase.ladder.room.step} as ${phase.ending.reason}`;
    case 'ended':
      return `ended as ${phase.ending.reason}`;
    case 'queued':
      return 'queued';
  }
}

/** A crash has taken a session that nobody was told of and that was never on record; this is another one under its id. */
function isForgotten({ committed, acknowledged, spec }: Case, { spec: wanted }: Session): boolean {
  return committed === null && !acknowledged && spec.createdAt.bootMs !== wanted.createdAt.bootMs;
}
