/** Whether an ending's reason is true, by what really happened in the simulated world. */

import type { Ending, Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import type { Participant } from '../../../src/core/rooms/presence.ts';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { REGISTRY } from '../../../src/lib/limits/storage-limits.ts';
import type { Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';
import type { Moment } from '../world/livekit.ts';
import type { ToldLook } from '../world/rooms.ts';
import type { Case } from './ledger.ts';

/** A visit shorter than this may pass unseen: two looks, and what they wait for. */
const UNSEEN_MS = 14_000;
/** Events may wait this long in a mailbox behind a record. */
const MAILBOX_MS = 1_500;
/** A look may wait so long behind a start that must be on record first. */
const RECORD_MS = REGISTRY.timeoutMs + MAILBOX_MS;
const SLACK_MS = 1;

const FINAL = [
  'client_initiated',
  'user_unavailable',
  'user_rejected',
  'participant_removed',
  'room_deleted',
  'room_closed',
];

interface Claimed {
  readonly sim: Sim;
  readonly one: Case;
  readonly session: Session;
  readonly ending: Ending;
  /** On the run's own clock. */
  readonly endMs: number;
}

/** null: true. */
export function checkReason(sim: Sim, one: Case, session: Session, ending: Ending): string | null {
  const endMs = sim.world.ofBoot(ending.at.bootMs);
  const claimed = { sim, one, session, ending, endMs };
  const { limits, profile } = one.spec;
  switch (ending.reason) {
    case 'requested':
      return one.requestedMs === null ? 'nobody asked' : null;
    case 'shutdown':
      return sim.generation?.life.stopping ? null : 'nobody stopped the supervisor';
    case 'completed':
      return completed(claimed);
    case 'crashed':
      return crashed(claimed);
    case 'worker_lost':
      return lost(claimed) ? null : 'its worker lives, or its status is known';
    case 'node_lost':
      return one.bootId === sim.world.bootId ? 'the host was not rebooted' : null;
    case 'max_duration':
      return atLeast('since its start', endMs - (one.startedMs ?? endMs), limits.maxDurationMs);
    case 'idle_timeout':
      return atLeast('of silence', endMs - one.lastActivityMs, limits.activityIdleTimeoutMs - MAILBOX_MS);
    case 'unresponsive':
      return atLeast(
        'without a word',
        // What came after the decision, while a look was waited for, changes nothing of it.
        endMs - Math.max(...[one.lastHeardMs, sim.ledger.countedMs].filter((atMs) => atMs <= endMs)),
        profile.heartbeatStaleMs - MAILBOX_MS,
      );
    case 'error_limit':
      return one.errorsHeard + session.restarts + 1 >= limits.errorLimit
        ? null
        : `${one.errorsHeard} errors were reported`;
    case 'memory_limit':
      return one.memoryMs === null ? 'it used no more than it may' : null;
    case 'start_timeout':
      return startTimeout(claimed);
    case 'unkillable':
      return unkillable(claimed);
    case 'callers_left':
    case 'not_answered':
    case 'no_caller_joined':
    case 'no_active_stream':
    case 'room_finished':
    case 'agent_absent':
      return absence(claimed);
  }
}

function atLeast(what: string, isMs: number, mustMs: number): string | null {
  return isMs >= mustMs - SLACK_MS ? null : `${Math.round(isMs)} ms ${what}, not ${mustMs}`;
}

/** Also one that was promised to it and died before it heard of its call. */
function runsOf({ sim, one, session }: Claimed): Run[] {
  const last = workerOf(session)?.id;
  return [...sim.host.runs.values()].filter((run) => run.spec?.id === one.id || run.id === last);
}

/** Gone, its shim too, and nobody wrote the status. */
function lost({ sim, session }: Claimed): boolean {
  const id = workerOf(session)?.id;
  if (id === undefined) return false;
  const { run, status } = sim.host.folder(id);
  return run !== null && status === null && (run.main === null ? !run.shim.alive : run.end !== null);
}

function completed({ sim, one, ending, session }: Claimed): string | null {
  const agents = [...sim.agents.values()].filter((agent) => agent.run.spec?.id === one.id);
  if (ending.cause === 'closed') return one.closedHeardMs === null ? 'its worker said nothing' : null;
  if (ending.cause === 'participant_left')
    return agents.some((agent) => agent.leftByItselfMs !== null) ? null : 'its agent did not leave by itself';
  const run = sim.host.runs.get(workerOf(session)?.id ?? (one.spec.id as never));
  return run?.end?.code === 0 && run.end.by === 'itself' ? null : 'its worker did not exit with 0 by itself';
}

function crashed({ sim, ending, session }: Claimed): string | null {
  const id = workerOf(session)?.id;
  const run = id === undefined ? undefined : sim.host.runs.get(id);
  if (ending.cause === 'spawn_failed') return run === undefined ? null : 'its worker did run';
  // Its command could not be executed.
  if (run === undefined && id !== undefined && sim.host.folder(id).status !== null) return null;
  if (run?.end == null) return 'its worker did not end';
  if (run.end.by !== 'itself') return `its worker was ended by ${run.end.by}`;
  return run.end.code === 0 ? 'its worker exited with 0' : null;
}

function startTimeout({ sim, one, ending, session, endMs }: Claimed): string | null {
  if (ending.cause === 'queue_timeout') {
    if (ending.detail?.includes('restarted')) return null;
    // One that came by itself waits for its room alone.
    if (session.spec.unasked === true) return null;
    const waitedMs = endMs - Math.max(one.seenMs, sim.generation?.life.bornMs ?? 0);
    return atLeast('in the queue', waitedMs, sim.scenario.limits.queueTimeoutMs);
  }
  const worker = workerOf(session);
  const spawnedMs = worker === null ? endMs : sim.world.ofBoot(worker.spawnedAt.bootMs);
  if (one.readyHeardMs !== null && one.readyHeardMs > spawnedMs && one.readyHeardMs < endMs - MAILBOX_MS)
    return 'its worker was ready';
  return atLeast('since its start', endMs - spawnedMs, one.spec.limits.startTimeoutMs);
}

/** A worker that died within the last seconds may not have been seen yet. */
function unkillable(claimed: Claimed): string | null {
  const runs = runsOf(claimed);
  if (!runs.some((run) => run.killed)) return 'nobody tried to kill it';
  const { sim } = claimed;
  const lives = runs.some((run) => sim.host.members(run).length > 0 || run.shim.alive);
  const justDied = runs.some((run) => sim.world.nowMs - run.lastDeathMs < 2_600);
  return lives || justDied ? null : 'it is dead';
}

type Is = (moment: Moment) => boolean;

function absence(claimed: Claimed): string | null {
  const { sim, one, endMs } = claimed;
  const looks = sim.generation?.rooms.looks(one.spec.room.name) ?? [];
  const recent = looks.filter((look) => look.toldMs <= endMs + SLACK_MS && look.toldMs >= endMs - RECORD_MS);
  if (recent.length === 0) return 'no look at the room decided it';
  const wrong = recent.map((look) => absent(claimed, look));
  return wrong.includes(null) ? null : (wrong.at(-1) ?? null);
}

function absent(claimed: Claimed, look: ToldLook): string | null {
  // What LiveKit itself denied is held back by the budget, not by knowing better.
  if (look.blind) return null;
  const { ending, one, endMs } = claimed;
  const { limits, profile } = one.spec;
  const has =
    (side: string): Is =>
    (moment) =>
      moment.people.some((who) => is(one, who, side));
  switch (ending.reason) {
    case 'callers_left':
      if (!everWas(claimed, has('caller'))) return 'no caller was ever there';
      return missing(claimed, look, { there: has('caller'), graceMs: graceMs(claimed, look) });
    case 'not_answered': {
      if (!everWas(claimed, has('ringing'))) return 'no phone ever rang';
      return missing(claimed, look, { there: has('caller'), graceMs: 0 });
    }
    case 'no_caller_joined':
      return (
        atLeast('since its start', endMs - (one.startedMs ?? endMs), limits.noCallerMs) ??
        missing(claimed, look, { there: has('caller'), graceMs: 0 })
      );
    case 'no_active_stream': {
      const heard: Is = (moment) =>
        moment.people.some((who) => is(one, who, 'caller') && who.audioTracks > 0);
      return missing(claimed, look, { there: heard, graceMs: limits.noActiveStreamMs ?? 0 });
    }
    case 'agent_absent': {
      const fine: Is = (moment) => !has('caller')(moment) || has('own_agent')(moment);
      return missing(claimed, look, { there: fine, graceMs: profile.agentAbsentMs });
    }
    case 'room_finished': {
      const sids = claimed.sim.livekit.history(one.spec.room.name).map((moment) => moment.sid);
      return sids.some((sid) => sid !== null && claimed.sim.livekit.finishedMs(sid) !== null)
        ? null
        : 'its room was never closed';
    }
    default:
      return null;
  }
}

function is(one: Case, who: Participant, side: string): boolean {
  return sideOf(who, one.spec.agentIdentity) === side;
}

/** Late words of just before the session count as well: nothing tells them apart. */
function everWas({ sim, one, endMs }: Claimed, was: Is): boolean {
  const history = sim.livekit.history(one.spec.room.name);
  const first = history.findLastIndex((moment) => moment.fromMs <= one.seenMs - UNSEEN_MS);
  return history.slice(Math.max(0, first)).some((moment) => moment.fromMs <= endMs && was(moment));
}

/** Not there at the look, nor for the grace before it; visits too short to be seen do not count. */
function missing(
  { sim, one, endMs }: Claimed,
  look: ToldLook,
  { there, graceMs }: { there: Is; graceMs: number },
): string | null {
  const { name } = one.spec.room;
  const atLook = sim.livekit.moment(name, look.trueMs);
  const atEnd = sim.livekit.moment(name, endMs);
  if (there(atLook) && there(atEnd)) return 'it was not so when LiveKit was asked';
  const sinceMs = absentSince(sim.livekit.history(name), there(atLook) ? endMs : look.trueMs, there);
  // Whoever went while the lists were empty was missed from the first of them on.
  const spell = sim.livekit.blindSpells.find(({ fromMs, toMs }) => fromMs <= sinceMs && sinceMs <= toMs);
  const fromMs = Math.max(spell?.fromMs ?? unseenFrom(sim, name, sinceMs), 0);
  return atLeast('of absence', look.toldMs - fromMs, graceMs);
}

/** Whoever went between a take-over, or a gap, and the first look after it is missed from the former on. */
function unseenFrom({ generation, ledger }: Sim, room: string, sinceMs: number): number {
  const { countedMs } = ledger;
  const first = generation?.rooms.looks(room).find(({ trueMs }) => trueMs >= countedMs);
  return first !== undefined && sinceMs >= countedMs && sinceMs <= first.trueMs ? countedMs : sinceMs;
}

function absentSince(history: readonly Moment[], atMs: number, there: Is): number {
  let since = 0;
  let visit: number | null = null;
  for (const moment of history) {
    if (moment.fromMs > atMs) break;
    if (there(moment)) visit ??= moment.fromMs;
    else if (visit !== null) {
      if (moment.fromMs - visit >= UNSEEN_MS) since = moment.fromMs;
      visit = null;
    }
  }
  return since;
}

/** Who hung up does not come back; whoever lost the connection might, and counting anew makes that of everybody. */
function graceMs({ sim, one }: Claimed, look: ToldLook): number {
  const { callersLeftMs, callersLostMs } = one.spec.limits;
  const gone = (sim.ledger.departures.get(one.spec.room.name) ?? []).filter(
    ({ person, atMs }) => atMs <= look.toldMs && is(one, person, 'caller'),
  );
  const last = gone.at(-1);
  // A visit after the hang-up that was too short to be seen, or fell into a gap, changes nothing.
  const { gapFromMs, gapEndMs } = sim.world;
  const inGap = last !== undefined && last.atMs >= gapFromMs && last.atMs <= gapEndMs;
  const unseenFromMs = Math.min((last?.atMs ?? 0) - UNSEEN_MS, inGap ? gapFromMs : Number.POSITIVE_INFINITY);
  const recent = gone.filter(({ atMs }) => atMs >= unseenFromMs);
  const hungUp = last === undefined || recent.some(({ reason }) => FINAL.includes(reason));
  return hungUp ? callersLeftMs : callersLostMs;
}
