/**
 * The truth about each session, kept apart from curfew: its wanted and its committed records, its workers, messages and requests.
 * The checks compare this with the state and the actions of curfew.
 */
import type { DispatchRequest, SessionView } from '../../../src/api/session-schemas.ts';
import type { SessionId, WorkerId } from '../../../src/core/ids.ts';
import { isWarmId, isZygoteId, sessionId } from '../../../src/core/ids.ts';
import type { WorkerMessage } from '../../../src/core/model/control-protocol.ts';
import type { Ending, Session } from '../../../src/core/model/session.ts';
import { isIn, isReplacing, workerOf } from '../../../src/core/model/session.ts';
import type { SessionRecord } from '../../../src/core/model/session-record.ts';
import { fromRecord } from '../../../src/core/model/session-record.ts';
import type { DisconnectReason, Participant } from '../../../src/core/rooms/presence.ts';
import { hasPassedClaim } from '../../../src/core/teardown/finishing.ts';
import { restOfTermMs } from '../../../src/core/teardown/steps.ts';
import { CurfewError, messageOf } from '../../../src/lib/errors.ts';
import { WATCH } from '../../../src/lib/limits/livekit-limits.ts';
import { RECORDING } from '../../../src/lib/limits/storage-limits.ts';
import type { DurableWrite } from '../../../src/ports/registry.ts';
import type { SpawnRequest } from '../../../src/ports/workers.ts';
import type { CheckName } from '../../promises.ts';
import type { Sim } from '../sim.ts';
import type { MessageWatch } from '../world/channels.ts';
import { tokenOf } from '../world/channels.ts';
import type { Run } from '../world/host.ts';
import type { Life } from '../world/life.ts';
import type { CleanupWatch } from '../world/process-table.ts';
import type { DiskWatch } from '../world/registry.ts';
import type { RoomsWatch } from '../world/rooms.ts';
import type { SignalWatch } from '../world/workers.ts';
import { checkCallbacks } from './callbacks.ts';
import { checkReason } from './reasons.ts';

export interface Case {
  readonly id: SessionId;
  readonly spec: Session['spec'];
  readonly bootId: string;
  readonly seenMs: number;
  /** The newest state that curfew wanted on record. */
  wanted: Session;
  wantedMs: number;
  /** Since when a wanted state waits for its commit; null: none waits. */
  waitsSinceMs: number | null;
  /** null: the disk has no record of it. */
  committed: Session | null;
  acknowledged: boolean;
  /** curfew refused it while its record was late. The disk is about to delete that record. */
  discarding: boolean;
  /** The time of its first start; null: not started yet. */
  startedMs: number | null;
  requestedMs: number | null;
  /** The time of the release that curfew must obey; null: no release, or the supervisor died before its answer. */
  dueMs: number | null;
  closingMs: number | null;
  ending: Ending | null;
  /** The supervisor acted without a record and then died. Later supervisors cannot know the lost state. */
  excused: boolean;
  lastHeardMs: number;
  lastActivityMs: number;
  readyHeardMs: number | null;
  closedHeardMs: number | null;
  errorsHeard: number;
  /** Errors in a row, without an `ok` between them. */
  errorsInRow: number;
  errorMs: number;
  memoryMs: number | null;
  /** Its agent was heard to dial a phone; null: it was not, or the supervisor may have died before its record. */
  dialledMs: number | null;
  /** The last time when something postponed its next ending. */
  busyMs: number;
  keptMs: number;
  /** A release in its teardown, which shortens a wrap-up; null: there was none. */
  hurriedMs: number | null;
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

export class Ledger implements DiskWatch, SignalWatch, MessageWatch, RoomsWatch, CleanupWatch {
  readonly sim: Sim;
  readonly cases = new Map<SessionId, Case>();
  readonly departures = new Map<string, Departure[]>();
  #readyMs = 0;
  reboots = 0;
  /** Times of the inferred endings of this supervisor. */
  readonly #inferred: number[] = [];
  /** A record changed, so the slower checks must run again. */
  dirty = true;

  constructor(sim: Sim) {
    this.sim = sim;
  }

  get #world() {
    return this.sim.world;
  }

  /** Its first record may still be on its way to the disk. */
  isArriving(id: string): boolean {
    const one = this.of(id);
    return (
      one === undefined ||
      one.committed === null ||
      one.waitsSinceMs !== null ||
      this.#world.nowMs - Math.max(one.wantedMs, this.anewMs) < 10_000
    );
  }

  /** The last time when the supervisor could miss something: the end of its start or of a gap. */
  get anewMs(): number {
    return Math.max(this.#readyMs, this.#world.gapEndMs);
  }

  /** The earliest begin of a deadline for silence or absence: the start of the supervisor or the end of a gap. */
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
      this.#fail(
        'reports-are-true: an ended session never lives again',
        `${one.id} ended and is ${session.phase.name}`,
      );
    // A refused dispatch can come again with the same id. The time of the last start counts.
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
      this.#fail(
        'reports-are-true: an ended session never lives again',
        `${one.id} is recorded as ${session.phase.name}`,
      );
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

  spawning(request: SpawnRequest): void {
    const { workerId, env, record } = request;
    this.sim.warmForks.spawning(request);
    // A warm worker has no session yet, and a zygote never has one.
    if (isWarmId(workerId) || isZygoteId(workerId)) return;
    const session = fromRecord((record as { session: SessionRecord }).session);
    const { id, room } = session.spec;
    const { tables } = this.sim.disk;
    const recorded = tables.sessions.get(id);
    if (recorded === undefined || workerOf(recorded)?.id !== workerId)
      this.#fail(
        'one-live-worker-per-claim: a start is on record before its process runs',
        `${workerId} is started, recorded is ${recorded === undefined ? 'nothing' : phaseText(recorded)}`,
      );
    if (tables.claims.get(session.spec.claim) !== id)
      this.#fail(
        'one-live-worker-per-claim: a claim is on record before its process runs',
        `${workerId} is started without the claim on record`,
      );
    this.#expectNoRepeat(session);
    if (
      env.CURFEW_TOKEN !== tokenOf(workerId) ||
      env.LIVEKIT_TOKEN !== tokenAtStart(session) ||
      env.CURFEW_ROOM !== room.name
    )
      this.#fail(
        'workers-get-only-their-own-access: a worker gets tokens for its own room only',
        `${workerId} gets ${JSON.stringify(env)}`,
      );
  }

  /** Checks that an exception is replaced once at most, no crash after the job dialled a phone, and none where the profile wants one run. */
  #expectNoRepeat({ spec: { id, profile }, replaced = [] }: Session): void {
    if (!profile.replace && this.cases.get(id)?.readyHeardMs != null)
      this.#fail(
        'livekit-agents-run-unchanged: a profile without replacement has one run of its agent in a call',
        `${id} gets another worker`,
      );
    const raised = replaced.filter(({ why }) => why.cause === 'exception').length;
    const dialled = this.cases.get(id)?.dialledMs ?? null;
    if (raised > 1 || dialled !== null)
      this.#fail(
        'livekit-agents-run-unchanged: an exception is replaced once, and no crash in a dialled call',
        `${id} gets another worker after ${raised} exceptions${dialled === null ? '' : ' and a dialled phone'}`,
      );
  }

  /** Checks that curfew signals only workers in a teardown or a replacement. */
  signalled(id: WorkerId, signal: string, to?: 'main'): void {
    const one = this.ofWorker(id);
    const run = this.sim.host.runs.get(id);
    if (isZygoteId(id)) return;
    // The pool may end a worker that is still warm, and the rest of a dead one.
    if (isWarmId(id) && (run?.spec == null || run.end !== null)) {
      if (run?.spec === null && run.end === null) this.sim.warmForks.signalled(id);
      return;
    }
    const state = one === undefined ? null : (this.sim.generation?.supervisor.sessions.state(one.id) ?? null);
    const phase = state?.phase;
    const live = phase?.name === 'live' && phase.work.kind === 'running' && phase.work.worker.id === id;
    if (phase === undefined || live || phase.name === 'starting' || phase.name === 'queued')
      this.#fail(
        'every-tree-is-accounted-for: no signal reaches a worker at work',
        `${signal} to ${id}; its session is ${phase?.name ?? 'unknown'}`,
      );
    if (run !== undefined && signal === 'SIGTERM' && to === undefined) this.#expectMainFirst(run, state);
    if (one !== undefined && run !== undefined && state !== null && workerOf(state)?.id === id)
      checkCallbacks(this.sim, { one, run, state });
  }

  /** The rest of the tree gets TERM when the main process is gone, or has had time to end it in order. */
  #expectMainFirst({ id, main, profile }: Run, state: Session | null): void {
    const { signal, termMs } = profile.ladder;
    const worker = state === null ? null : workerOf(state);
    const isKnown = worker?.stage === 'running' && worker.process.main !== null;
    if (main?.alive !== true || signal === 'all' || !isKnown) return;
    // The bound begins before the record of the step, and the signal follows the record.
    const leastMs = (termMs - restOfTermMs(termMs)) / 4;
    const hadMs = main.termedMs === null ? null : this.#world.nowMs - main.termedMs;
    if (hadMs === null || hadMs < leastMs)
      this.#fail(
        'every-tree-is-accounted-for: TERM reaches the main process before the rest of its tree',
        `${id}: the main process ${hadMs === null ? 'has had no TERM' : `had its TERM ${Math.round(hadMs)} ms ago`}`,
      );
  }

  /** Checks that a cleanup ends no worker at work. */
  ending(run: Run): void {
    run.killed = true;
    if (run.spec === null) return;
    const one = this.cases.get(run.spec.id);
    const name = one?.wanted.phase.name;
    const current = one === undefined ? null : workerOf(one.wanted);
    if ((name === 'live' || name === 'starting') && current?.id === run.id)
      this.#fail(
        'every-tree-is-accounted-for: a cleanup leaves a worker at work alone',
        `${run.id}; its session is ${name}`,
      );
  }

  delivered(id: WorkerId, message: WorkerMessage): void {
    const one = this.ofWorker(id);
    if (one === undefined) return;
    const { nowMs } = this.#world;
    if (message.type !== 'dumped') one.lastHeardMs = nowMs;
    if (message.type === 'activity') one.lastActivityMs = Math.max(one.lastActivityMs, nowMs);
    if (message.type === 'ready') one.readyHeardMs = nowMs;
    if (message.type === 'closed') one.closedHeardMs = nowMs;
    const isAtWork = isIn(one.wanted, 'live') && !isReplacing(one.wanted) && workerOf(one.wanted)?.id === id;
    if (message.type === 'dialled' && isAtWork) one.dialledMs = nowMs;
    // Errors of a worker that is being replaced do not count.
    if (isReplacing(one.wanted)) return;
    if (message.type === 'ok') one.errorsInRow = 0;
    // The errors that closed an AgentSession are the one failure that the replacement counts.
    if (message.type === 'agent_session' && message.closed?.reason === 'error') one.errorsInRow = 0;
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
          'every-tree-is-accounted-for: no agent at work is removed from its room',
          `${identity} of ${run.id} is removed while it is ${phase.name}`,
        );
    }
  }

  token({ room, identity, ttlMs }: Parameters<RoomsWatch['token']>[0]): void {
    this.sim.comebacks.token(room.name, identity, ttlMs);
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
      // Race: the request was on its way to LiveKit when the session started.
      if (this.#world.nowMs - Math.max(one.seenMs, this.anewMs) < WATCH.closeMs) continue;
      const phase = this.sim.generation?.supervisor.sessions.state(run.spec.id)?.phase;
      if (phase?.name === 'live' || phase?.name === 'starting')
        this.#fail(
          'every-tree-is-accounted-for: no room with a session at work is closed',
          `${room.name}, where ${run.id} works`,
        );
    }
  }

  born(run: Run): void {
    if (run.spec === null) return;
    for (const other of this.sim.host.alive)
      if (
        other !== run &&
        other.spec?.claim === run.spec.claim &&
        this.sim.host.members(other).length > 0 &&
        !this.isFinishing(other)
      )
        this.#fail(
          'one-live-worker-per-claim: a worker starts only when no other worker of its claim can be in the room',
          `${run.id} begins while ${other.id} lives`,
        );
  }

  /** A LiveKit agent whose session has passed its claim on durably, and which LiveKit shows no longer. */
  isFinishing(run: Run): boolean {
    if (run.profile.protocol !== 'livekit') return false;
    const recorded = run.spec === null ? undefined : this.sim.disk.tables.sessions.get(run.spec.id);
    if (recorded === undefined || !hasPassedClaim(recorded)) return false;
    return this.sim.agents.get(run.id)?.isInRoom !== true;
  }

  /** A warm worker got a session. */
  assigned(run: Run, session: string): void {
    const one = this.of(session);
    if (run.spec !== null && run.spec.id !== session)
      this.#fail(
        'livekit-agents-run-unchanged: a warm worker serves one job',
        `${run.id} of ${run.spec.id} gets ${session}`,
      );
    if (one === undefined || run.spec !== null) return;
    run.spec = one.spec;
    this.born(run);
  }

  acknowledged(asked: DispatchRequest, view: SessionView, created: boolean): void {
    const one = this.of(view.id);
    if (one === undefined || one.committed === null)
      this.#fail('unknown-is-not-gone: an accepted session is on record', `${view.id} was accepted`);
    else one.acknowledged = true;
    if (asked.id !== undefined && asked.id !== view.id)
      this.#fail(
        'reports-are-true: a dispatch with an id answers with that id',
        `${asked.id} gave ${view.id}`,
      );
    this.#world.note(
      'person',
      `dispatch of ${view.room}: ${created ? 'new' : 'known'} ${view.id} ${view.state}`,
    );
  }

  refused(asked: DispatchRequest, error: unknown): void {
    const code = error instanceof CurfewError ? error.code : 'none';
    this.#world.note('person', `dispatch of ${asked.room}: ${messageOf(error)}`);
    if (code === 'draining' && this.sim.returns.drainedMs !== null) return;
    if (!['room_taken', 'at_capacity', 'id_conflict', 'registry_unavailable', 'stopping'].includes(code))
      this.#fail('reports-are-true: a refusal has a documented code', messageOf(error));
  }

  requested(id: string): void {
    const one = this.of(id);
    if (one === undefined) return;
    one.requestedMs ??= this.#world.nowMs;
    one.dueMs ??= this.#world.nowMs;
    if (one.closingMs !== null) one.hurriedMs ??= this.#world.nowMs;
  }

  /** The release came before the session was admitted, so it binds no supervisor. */
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
        run: () => agent.thrownOut(),
      });
  }

  logged(level: string, fields: object, message: string): void {
    const text = JSON.stringify(fields) + message;
    this.#world.note('log', `${level} ${text}`);
    if (/\+4930|caller-|metadata-marker|token-of/.test(text))
      this.#fail('workers-get-only-their-own-access: the log names no room, person or secret', text);
    if (message.startsWith('an event of a session failed'))
      this.#fail('every-wait-has-a-bound: every event of a session is handled', text);
  }

  rebooted(): void {
    this.reboots += 1;
  }

  /** The supervisor died. Uncommitted states are void. A session is excused when the supervisor acted on such a state. */
  died(_life: Life, _where: string): void {
    this.#inferred.length = 0;
    const { nowMs } = this.#world;
    for (const one of this.cases.values()) {
      // The last messages may not be on record.
      if (one.waitsSinceMs !== null || nowMs - one.errorMs < 6_000) one.errorsInRow = 0;
      if (one.dialledMs !== null && (one.waitsSinceMs !== null || nowMs - one.dialledMs < 6_000))
        one.dialledMs = null;
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
      dialledMs: null,
      busyMs: 0,
      keptMs: 0,
      hurriedMs: null,
    };
    this.#expectFree(one);
    this.sim.rejections.forget(one.id);
    this.sim.callers.forget(one.id);
    this.cases.set(one.id, one);
    this.sim.returns.begun(one);
    return one;
  }

  /** Checks that the earlier session of the claim has ended or is closing. */
  #expectFree({ id, spec }: Case): void {
    for (const other of this.cases.values()) {
      const { name } = other.wanted.phase;
      if (other.spec.claim !== spec.claim || other.committed === null) continue;
      if (other.excused || other.discarding) continue;
      if (name !== 'closing' && name !== 'ended')
        this.#fail(
          'one-live-worker-per-claim: a session is admitted only when its claim is free',
          `${id} is admitted while ${other.id} is ${name}`,
        );
    }
  }

  #ends(one: Case, session: Session, ending: Ending): void {
    one.closingMs ??= this.#world.nowMs;
    const first = one.ending;
    one.ending = ending;
    if (first === null) this.sim.returns.ended(one, session);
    if (one.excused) return;
    if (first !== null && first.reason !== ending.reason && ending.reason !== 'unkillable')
      this.#fail(
        'every-ending-has-its-evidence: the first cause of an ending stays',
        `${one.id} ended as ${first.reason}, and now as ${ending.reason}`,
      );
    if (first?.reason === ending.reason) return;
    this.#world.note('curfew', `${one.id} ends: ${ending.reason} (${ending.cause}) ${ending.detail ?? ''}`);
    checkReason(this.sim, one, session, ending);
    // A reported hang-up is not inferred. The budget counts inferred endings of live sessions only.
    const live = session.phase.name === 'closing' && session.liveAt !== null;
    // A crash is not inferred either.
    const isCrash = ending.reason === 'error_limit' && ending.cause !== 'error';
    if (live && !isCrash && INFERRED.includes(ending.reason) && !ending.detail?.includes('hung up'))
      this.#countInferred(ending);
  }

  /** curfew holds endings beyond five and beyond a fifth of the live sessions within half a minute. */
  #countInferred(ending: Ending): void {
    const { nowMs } = this.#world;
    this.#inferred.push(nowMs);
    const recent = this.#inferred.filter((atMs) => nowMs - atMs < 29_000).length;
    const all = this.sim.generation?.supervisor.sessions.all() ?? [];
    const live = all.filter((other) => other.phase.name === 'live').length + recent;
    if (recent > 5 && recent > 0.2 * live + 1)
      this.#fail(
        'no-mass-end: inferred endings stay within the budget of the host',
        `${recent} of ${live} ended within 30 s, the last as ${ending.reason}`,
      );
  }

  #ended(one: Case, session: Session): void {
    const { phase } = session;
    if (phase.name !== 'ended') return;
    const unkillable = phase.ending.reason === 'unkillable';
    for (const run of this.sim.host.alive)
      if (run.spec?.id === one.id && !unkillable && this.sim.host.members(run).length > 0)
        this.#fail(
          'reports-are-true: an ended session has no live worker',
          `${one.id} ended while ${run.id} lives`,
        );
  }

  #fail(check: CheckName, detail: string): void {
    this.#world.fail(check, detail);
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

/** The known session was never on record and never acknowledged. A crash erased it, and the wanted one is another under its id. */
/** A LiveKit agent gets its token with its job. */
function tokenAtStart({ spec }: Session): string | undefined {
  return spec.profile.protocol === 'livekit'
    ? undefined
    : JSON.stringify([spec.room.name, spec.agentIdentity]);
}

function isForgotten({ committed, acknowledged, spec }: Case, { spec: wanted }: Session): boolean {
  return committed === null && !acknowledged && spec.createdAt.bootMs !== wanted.createdAt.bootMs;
}
