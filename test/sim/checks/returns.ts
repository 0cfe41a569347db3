/**
 * Callers that return to the room of an ended session. Each next session has a predecessor that allows it, and is within its
 * bounds. A caller that waits gets one.
 */
import type { SessionId } from '../../../src/core/ids.ts';
import type { Session } from '../../../src/core/model/session.ts';
import type { Participant } from '../../../src/core/rooms/presence.ts';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { REJOIN } from '../../../src/lib/limits/session-limits.ts';
import type { CheckName } from '../../promises.ts';
import type { Sim } from '../sim.ts';
import { keepsCall } from './callers.ts';
import type { Case } from './ledger.ts';

/** A mailbox, a poll and a record may lie between a fact and its effect. */
const SLOW_MS = 15_000;
/** A record and a mailbox lie between a release and the end of the watch. */
const RELEASED_MS = 2_000;
/** Two polls, the wait for another dispatch, and the wait after a failure that was no refusal. */
const SERVED_MS = 60_000;
const SLACK_MS = 1_000;
/** A poll and its answer. */
const ROUND_MS = 8_000;

interface Waiting {
  readonly one: Case;
  readonly roomSid: string;
  /** Since when a caller waits and nothing stands in the way. */
  sinceMs: number;
}

export class Returns {
  readonly #sim: Sim;
  /** Ended sessions whose room curfew watches for a caller. */
  readonly #waiting = new Map<SessionId, Waiting>();
  /** The last time when LiveKit gave empty answers. */
  #blindMs = Number.NEGATIVE_INFINITY;
  /** Since when LiveKit gives empty answers, without a longer pause; null: it does not. */
  #blindSinceMs: number | null = null;
  /** The last time when LiveKit did not work. */
  #failedMs = Number.NEGATIVE_INFINITY;
  /** Since when the supervisor drains; null: it does not. */
  drainedMs: number | null = null;

  constructor(sim: Sim) {
    this.#sim = sim;
  }

  get #nowMs(): number {
    return this.#sim.world.nowMs;
  }

  /** A session is being admitted. Every session of a claim ends the wait for its callers. */
  begun(one: Case): void {
    for (const [id, { one: before }] of this.#waiting)
      if (before.spec.claim === one.spec.claim) this.#waiting.delete(id);
    const { rejoin } = one.spec;
    if (rejoin === undefined) return;
    const before = this.#sim.ledger.of(rejoin.of);
    if (before === undefined || before.excused) return;
    const why = this.#whyNot(one, before);
    if (why !== null)
      this.#fail(
        'livekit-agents-run-unchanged: a next session begins only for a caller that returned to an open end',
        `${one.id} after ${before.id}: ${why}`,
      );
    const beyond = this.#beyond(one, before);
    if (beyond !== null)
      this.#fail(
        'every-wait-has-a-bound: next sessions stay within their number and the rest of the maximum duration',
        `${one.id} after ${before.id}: ${beyond}`,
      );
  }

  /** The session begins its teardown. */
  ended(one: Case, session: Session): void {
    const { roomSid } = session.presence;
    const isBlind = this.#nowMs - this.#blindMs < SLOW_MS;
    if (roomSid === null || isBlind || one.excused || one.ending?.reason === 'unkillable') return;
    if (whyNoNext(one, session) !== null) return;
    this.#waiting.set(one.id, { one, roomSid, sinceMs: this.#nowMs });
  }

  /** A watch that is not on the disk is lost with the supervisor. */
  died(): void {
    this.drainedMs = null;
    const kept = new Set([...this.#sim.disk.tables.watches.values()].map((watch) => watch.session));
    for (const id of this.#waiting.keys()) if (!kept.has(id)) this.#waiting.delete(id);
  }

  check(): void {
    this.#noteBlindness();
    for (const [id, waiting] of this.#waiting) {
      if (this.#isOver(waiting)) this.#waiting.delete(id);
      else if (!this.#isDue(waiting)) waiting.sinceMs = this.#nowMs;
      else if (this.#nowMs - waiting.sinceMs > SERVED_MS)
        this.#fail(
          'livekit-agents-run-unchanged: a caller that returns gets a new session',
          `a caller waits in ${waiting.roomSid} since the end of ${id}`,
        );
    }
  }

  /** Empty answers for a longer time end each watch. */
  #noteBlindness(): void {
    const { api } = this.#sim.livekit;
    if (api !== 'ok') this.#failedMs = this.#nowMs;
    if (api === 'blind') {
      this.#blindMs = this.#nowMs;
      this.#blindSinceMs ??= this.#nowMs;
    }
    if (this.#nowMs - this.#failedMs > ROUND_MS) this.#blindSinceMs = null;
    if (this.#blindSinceMs !== null && this.#blindMs - this.#blindSinceMs > REJOIN.goneMs - SLACK_MS)
      this.#waiting.clear();
  }

  /** Nothing is promised any more. */
  #isOver({ one, roomSid }: Waiting): boolean {
    const { world, livekit } = this.#sim;
    const endsAtMs = (one.startedMs ?? 0) + one.spec.limits.maxDurationMs;
    return (
      one.excused ||
      one.dueMs !== null ||
      one.bootId !== world.bootId ||
      livekit.room(one.spec.room.name)?.sid !== roomSid ||
      this.#nowMs + SERVED_MS > endsAtMs
    );
  }

  #isDue({ one }: Waiting): boolean {
    const { serving, livekit, disk, world } = this.#sim;
    const isTrouble =
      serving === null ||
      serving.life.stopping ||
      this.drainedMs !== null ||
      livekit.api !== 'ok' ||
      disk.state !== 'ok' ||
      this.#nowMs < world.suspendedUntilMs('supervisor');
    if (isTrouble || !this.#hasCaller(one) || disk.tables.claims.has(one.spec.claim)) return false;
    const { admission } = serving.supervisor.parts;
    const isFull = admission.quotas().some(({ used, limit }) => used >= limit);
    return !isFull && admission.overload().length === 0 && this.#recent(one).length < REJOIN.most;
  }

  #hasCaller({ spec }: Case): boolean {
    const people = this.#sim.livekit.room(spec.room.name)?.people.values() ?? [];
    return [...people].some((who) => keepsCall(who, spec));
  }

  #whyNot(one: Case, before: Case): string | null {
    const { world, livekit, serving, ledger, disk } = this.#sim;
    if (serving?.life.stopping === true) return 'the supervisor stops';
    if (this.drainedMs !== null && this.#nowMs - this.drainedMs > SLOW_MS) return 'the supervisor drains';
    const other = [...ledger.cases.values()].find(
      ({ id, spec, committed }) => id !== one.id && committed !== null && spec.rejoin?.of === before.id,
    );
    // The next supervisor reads the watch again whose end was not on the disk.
    if (other !== undefined && other.seenMs > (serving?.life.bornMs ?? 0)) return `${other.id} began before`;
    const slowMs = disk.troubleMs > this.#nowMs - SLOW_MS ? SLOW_MS : RELEASED_MS;
    if (before.dueMs !== null && this.#nowMs - before.dueMs > slowMs) return 'it was released';
    const { roomSid } = before.wanted.presence;
    const recent = livekit
      .history(one.spec.room.name)
      .filter((_, at, all) => (all[at + 1]?.fromMs ?? world.nowMs) >= world.nowMs - SLOW_MS)
      .filter(({ sid }) => sid === roomSid);
    // Where curfew knows of nobody that spoke, a listener that returns is a caller.
    const isCaller = (who: Participant) =>
      this.#sim.callers.isKnown(before.id)
        ? keepsCall(who, before.spec)
        : sideOf(who, before.spec.agentIdentity) === 'caller';
    const isThere = recent.some(({ people }) => people.some(isCaller));
    if (!isThere) return 'no caller was in its room';
    // The agent ended its job, or raised, because its caller had left.
    const { reason, cause } = before.ending ?? {};
    const isByAgent = reason === 'completed' || cause === 'exception';
    return isByAgent ? null : whyNoNext(before, before.wanted);
  }

  #beyond(one: Case, before: Case): string | null {
    const earlier = this.#recent(before).length;
    if (earlier >= REJOIN.most) return `${earlier} began within ${REJOIN.withinMs} ms`;
    const { maxDurationMs } = one.spec.limits;
    if (before.startedMs === null || before.bootId !== one.bootId) return null;
    const leftMs = before.startedMs + before.spec.limits.maxDurationMs - this.#nowMs;
    return maxDurationMs <= leftMs + SLACK_MS && maxDurationMs > 0
      ? null
      : `it may last ${maxDurationMs} ms, and ${Math.round(leftMs)} ms are left`;
  }

  /** The next sessions of this call that began lately, this one included. */
  #recent(one: Case): Case[] {
    const found: Case[] = [];
    for (let next: Case | undefined = one; next?.spec.rejoin !== undefined; ) {
      if (this.#nowMs - next.seenMs < REJOIN.withinMs - SLACK_MS) found.push(next);
      next = this.#sim.ledger.of(next.spec.rejoin.of);
    }
    return found;
  }

  #fail(check: CheckName, detail: string): void {
    this.#sim.world.fail(check, detail);
  }
}

/** null: a caller that returns after this session gets the next one. */
function whyNoNext(one: Case, { phase, presence, spec }: Session): string | null {
  if (phase.name !== 'closing' && phase.name !== 'ended') return 'it has not ended';
  const { reason, cause } = phase.ending;
  const isOpenEnd =
    reason === 'callers_left' || reason === 'no_caller_joined' || cause === 'agent_session_closed';
  // The watch began with the teardown, before SIGKILL had no effect.
  if (!isOpenEnd && reason !== 'unkillable') return `it ended as ${reason} (${cause})`;
  const { rejoin = 'off', roomOnEnd } = spec.profile;
  if (rejoin === 'off' || roomOnEnd === 'close') return `its profile has rejoin ${rejoin} and ${roomOnEnd}`;
  if (rejoin === 'always') return null;
  if (spec.unasked !== true) return 'a person dispatched it';
  return presence.outboundSeen === true || one.dialledMs !== null ? 'its call was dialled out' : null;
}
