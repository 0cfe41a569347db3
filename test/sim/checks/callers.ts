/**
 * The callers of each running session in the simulated world. A call whose callers have left ends, although others may still listen.
 * A caller that is back does not sit beside an agent that has closed its AgentSession.
 */
import type { SessionId } from '../../../src/core/ids.ts';
import type { Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import type { Participant } from '../../../src/core/rooms/presence.ts';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { bringsNext } from '../../../src/core/teardown/rejoin-rule.ts';
import type { Sim } from '../sim.ts';
import type { Moment } from '../world/livekit.ts';

/** curfew has seen and recorded a caller that was there for this long: two polls, their delays and a record. */
const KNOWN_MS = 20_000;
/** Two polls, a mailbox and a record lie between the end of a grace and the ending. */
const SLOW_MS = 25_000;
/** Departures this near to the close of an AgentSession may have caused it. */
const NEAR_MS = 60_000;
/** The grace of a caller without a connection, the time of a return, and polls. */
const SILENT_MS = 60_000;

interface Call {
  /** The room when it last changed; null: it was never there. */
  moment: Moment | null;
  /** Since when callers are there without a pause; null: nobody is. */
  hereSinceMs: number | null;
  /** Since when nobody is there; null: somebody is. */
  goneSinceMs: number | null;
  /** curfew surely knows that a caller was there. */
  isKnown: boolean;
  /** When curfew saw a caller first; null: it has seen none. */
  seenMs: number | null;
  /** Since when nothing hindered curfew. */
  quietSinceMs: number;
}

type Spec = Pick<Session['spec'], 'profile' | 'agentIdentity'>;

/** Whether the participant keeps a call in which somebody spoke. */
export function keepsCall(who: Participant, { profile, agentIdentity }: Spec): boolean {
  const isNobody = who.listens === true && profile.ignore?.listeners === true;
  return !isNobody && sideOf(who, agentIdentity) === 'caller';
}

export class Callers {
  readonly #sim: Sim;
  readonly #calls = new Map<SessionId, Call>();

  constructor(sim: Sim) {
    this.#sim = sim;
  }

  get #nowMs(): number {
    return this.#sim.world.nowMs;
  }

  /** Whether curfew surely knows of a caller that speaks, so that listeners are nobody. */
  isKnown(id: SessionId): boolean {
    return this.#calls.get(id)?.isKnown === true;
  }

  /** LiveKit or the disk failed since then. */
  hinderedSince(id: SessionId, sinceMs: number): boolean {
    return (this.#calls.get(id)?.quietSinceMs ?? this.#nowMs) > sinceMs;
  }

  check(session: Session): void {
    const { ledger, livekit } = this.#sim;
    const { spec, phase } = session;
    if (phase.name === 'queued' || phase.name === 'ended') return;
    const one = ledger.of(spec.id);
    if (one === undefined) return;
    const call = this.#callOf(spec.id);
    const { nowMs } = this.#sim.world;
    if (this.#isHindered()) call.quietSinceMs = nowMs;
    if (session.presence.callersSeen) call.seenMs ??= nowMs;
    if (phase.name === 'closing') return;
    const moment = livekit.history(spec.room.name).at(-1) ?? null;
    if (moment !== call.moment) {
      const isHere = moment?.people.some((who) => keepsCall(who, spec)) === true;
      call.moment = moment;
      call.hereSinceMs = isHere ? (call.hereSinceMs ?? nowMs) : null;
      call.goneSinceMs = isHere ? null : (call.goneSinceMs ?? nowMs);
    }
    const sinceMs = (atMs: number | null) =>
      atMs === null ? 0 : nowMs - Math.max(atMs, call.quietSinceMs, this.#anewMs);
    if (sinceMs(call.hereSinceMs) > KNOWN_MS) call.isKnown = true;
    if (one.excused || one.waitsSinceMs !== null) return;
    // The budget for mass ends holds the ending.
    if (phase.name === 'live' && phase.inference !== null) call.quietSinceMs = nowMs;
    const { callersLostMs, callersLeftMs } = spec.limits;
    if (call.isKnown && sinceMs(call.goneSinceMs) > Math.max(callersLostMs, callersLeftMs) + SLOW_MS)
      this.#sim.world.fail(
        'every-wait-has-a-bound: a call whose callers have left ends',
        `${spec.id} is ${phase.name}, and its callers have left ${Math.round(nowMs - (call.goneSinceMs ?? 0))} ms ago`,
      );
    if (sinceMs(call.hereSinceMs) > SILENT_MS) this.#checkAnswers(session, call);
  }

  /** Deadlines of absence start again with a supervisor, and after a time in which it did not run. */
  get #anewMs(): number {
    const { ledger, world } = this.#sim;
    return Math.max(ledger.anewMs, world.suspendedUntilMs('supervisor'));
  }

  /** The callers stay, and the AgentSession of the call has closed itself long ago. */
  #checkAnswers(session: Session, call: Call): void {
    const { agents, ledger, livekit, world } = this.#sim;
    const { spec, phase } = session;
    if (phase.name !== 'live' || phase.work.kind !== 'running' || !bringsNext(session)) return;
    const agent = agents.get(workerOf(session)?.id ?? ('' as never));
    const closed = agent?.closed ?? null;
    // A supervisor that was away may see the first caller long after the close.
    if (call.seenMs === null || (closed !== null && call.seenMs > closed.leftMs)) return;
    if (agent === undefined || closed === null || agent.hung || agent.run.main?.alive !== true) return;
    if (call.hereSinceMs === null || call.hereSinceMs < closed.leftMs) return;
    // Participants that only listen ask nothing of the agent.
    if (call.moment?.people.some((who) => keepsCall(who, spec) && who.listens !== true) !== true) return;
    // A listener that was there all the time and may speak now is not back.
    const stayed = livekit.moment(spec.room.name, closed.leftMs).people.map(({ sid }) => sid);
    if (call.moment?.people.some((who) => keepsCall(who, spec) && stayed.includes(who.sid)) === true) return;
    // Where several have left, the close may belong to one that has nothing to do with the caller that is back.
    const left = (ledger.departures.get(spec.room.name) ?? []).filter(
      ({ atMs }) => Math.abs(atMs - closed.atMs) < NEAR_MS,
    );
    if (left.length > 1) return;
    const sinceMs = Math.max(closed.atMs, call.hereSinceMs, call.quietSinceMs, this.#anewMs);
    const hasOtherLeft = (ledger.departures.get(spec.room.name) ?? []).some(
      ({ person, atMs }) => keepsCall(person, spec) && atMs > (call.hereSinceMs ?? 0),
    );
    if (!hasOtherLeft && world.nowMs - sinceMs > SILENT_MS)
      world.fail(
        'livekit-agents-run-unchanged: a caller that is back has an agent that answers',
        `the AgentSession of ${agent.workerId} closed ${Math.round(world.nowMs - closed.atMs)} ms ago, and a caller is there`,
      );
  }

  #callOf(id: SessionId): Call {
    const known = this.#calls.get(id);
    if (known !== undefined) return known;
    const made = {
      moment: null,
      hereSinceMs: null,
      goneSinceMs: this.#nowMs,
      isKnown: false,
      seenMs: null,
      quietSinceMs: this.#nowMs,
    };
    this.#calls.set(id, made);
    return made;
  }

  #isHindered(): boolean {
    const { livekit, disk, world } = this.#sim;
    return livekit.api !== 'ok' || disk.state !== 'ok' || world.nowMs < world.suspendedUntilMs('host');
  }

  /** Another session has this id. */
  forget(id: SessionId): void {
    this.#calls.delete(id);
  }
}
