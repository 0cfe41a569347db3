/** Checks whether the reason of an ending is true in the simulated world. */

import type { Ending, Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import type { Participant } from '../../../src/core/rooms/presence.ts';
import { sideOf } from '../../../src/core/rooms/presence.ts';
import { REGISTRY } from '../../../src/lib/limits/storage-limits.ts';
import type { Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';
import type { Moment } from '../world/livekit.ts';
import type { Delivered } from '../world/rooms.ts';
import { keepsCall } from './callers.ts';
import type { Case } from './ledger.ts';

/** A visit shorter than this may pass unseen: two polls and their delays. */
const UNSEEN_MS = 14_000;
/** The longest wait of an event in a mailbox behind a record. */
const MAILBOX_MS = 1_500;
/** The longest wait of a snapshot behind the record of a start. */
const RECORD_MS = REGISTRY.timeoutMs + MAILBOX_MS;
const SLACK_MS = 1;
/** An unwritable registry ends no live call, and no start before its time. */
const UNRECORDED = 'could not be recorded';

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
  /** On the clock of the run. */
  readonly endMs: number;
  /** From then on participants that only listen count for nothing. */
  readonly speakerMs: number;
}

const ABSENCES: readonly Ending['reason'][] = [
  'callers_left',
  'not_answered',
  'no_caller_joined',
  'no_active_stream',
  'room_finished',
  'agent_absent',
];

export function checkReason(sim: Sim, one: Case, session: Session, ending: Ending): void {
  const lie = lieOf(sim, one, session, ending);
  if (lie === null) return;
  const { reason, cause, detail } = ending;
  sim.world.fail(
    ABSENCES.includes(reason)
      ? 'unknown-is-not-gone: an absence is believed only when LiveKit shows it'
      : 'every-ending-has-its-evidence: the reason of an ending is true',
    `${one.id} ${reason} (${cause}; ${detail}): ${lie}`,
  );
}

/** Why the reason is false; null: it is true. */
function lieOf(sim: Sim, one: Case, session: Session, ending: Ending): string | null {
  const endMs = sim.world.ofBoot(ending.at.bootMs);
  const claimed = { sim, one, session, ending, endMs, speakerMs: Number.POSITIVE_INFINITY };
  const { limits, profile } = one.spec;
  if (ending.detail?.includes(UNRECORDED)) {
    if (session.liveAt !== null) return 'only a record failed';
    const { startTimeoutMs } = limits;
    return session.startedAt === null
      ? null
      : atLeast('of tries', endMs - (one.startedMs ?? endMs), startTimeoutMs);
  }
  switch (ending.reason) {
    case 'requested':
      return one.requestedMs === null ? 'no release was requested' : null;
    case 'shutdown':
      return sim.generation?.life.stopping ? null : 'the supervisor was not stopped';
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
        'without a message',
        // A message after the decision changes nothing, although the ending still waits for a snapshot.
        endMs - Math.max(...[one.lastHeardMs, sim.ledger.countedMs].filter((atMs) => atMs <= endMs)),
        profile.heartbeatStaleMs - MAILBOX_MS,
      );
    case 'error_limit':
      return one.errorsHeard + session.restarts + 1 >= limits.errorLimit
        ? null
        : `${one.errorsHeard} errors were reported`;
    case 'memory_limit':
      return one.memoryMs === null ? 'its memory stayed below the limit' : null;
    case 'start_timeout':
      return startTimeout(claimed);
    case 'declined':
      return sim.rejections.has(one.id) ? null : 'no agent rejected its job';
    case 'unkillable':
      return unkillable(claimed);
    case 'no_caller_joined':
      // A snapshot showed the caller before the session began.
      return session.spec.rejoin === undefined ? absence(claimed) : 'its caller had returned';
    case 'callers_left':
    case 'not_answered':
    case 'no_active_stream':
    case 'room_finished':
    case 'agent_absent':
      return inAnyReading(claimed, absence);
  }
}

/** curfew may have overlooked a short visit of a caller that speaks, so that listeners count until a later visit. */
function inAnyReading(claimed: Claimed, lie: (claimed: Claimed) => string | null): string | null {
  const lies: string[] = [];
  for (const speakerMs of [claimed.speakerMs, ...speakerVisits(claimed)]) {
    const found = lie({ ...claimed, speakerMs });
    if (found === null) return null;
    lies.push(found);
  }
  return [...new Set(lies)].join(' | ');
}

function speakerVisits({ sim, one, endMs }: Claimed): number[] {
  if (one.spec.profile.ignore?.listeners !== true) return [];
  const speaks = ({ people }: Moment) => people.some((who) => keepsCall(who, one.spec));
  return sim.livekit
    .history(one.spec.room.name)
    .filter((moment, at, all) => speaks(moment) && (at === 0 || !speaks(all[at - 1] ?? moment)))
    .map(({ fromMs }) => fromMs)
    .filter((fromMs) => fromMs <= endMs);
}

function atLeast(what: string, isMs: number, mustMs: number): string | null {
  return isMs >= mustMs - SLACK_MS ? null : `${Math.round(isMs)} ms ${what}, not ${mustMs}`;
}

/** Includes a warm worker that died before its assignment arrived. */
function runsOf({ sim, one, session }: Claimed): Run[] {
  const last = workerOf(session)?.id;
  return [...sim.host.runs.values()].filter((run) => run.spec?.id === one.id || run.id === last);
}

/** The worker and its shim are gone, and no status was written. */
function lost({ sim, session }: Claimed): boolean {
  const id = workerOf(session)?.id;
  if (id === undefined) return false;
  const { run, status } = sim.host.folder(id);
  return run !== null && status === null && (run.main === null ? !run.shim.alive : run.end !== null);
}

function completed({ sim, one, ending, session }: Claimed): string | null {
  const agents = [...sim.agents.values()].filter((agent) => agent.run.spec?.id === one.id);
  if (ending.cause === 'agent_session_closed')
    return agents.some((agent) => agent.hasClosed || agent.hasFailed)
      ? null
      : 'its AgentSession did not close';
  if (ending.cause === 'closed') return one.closedHeardMs === null ? 'its worker said nothing' : null;
  if (ending.cause === 'participant_left')
    return agents.some((agent) => agent.leftUnaskedMs !== null)
      ? null
      : 'its agent did not leave without a request';
  if (one.spec.profile.protocol === 'livekit')
    return 'the main process of a LiveKit agent ended before its job';
  const run = sim.host.runs.get(workerOf(session)?.id ?? (one.spec.id as never));
  return run?.end?.code === 0 && run.end.by === 'itself'
    ? null
    : 'its worker did not exit with 0 without a signal of curfew';
}

function crashed({ sim, one, ending, session }: Claimed): string | null {
  // `failed`: the agent raised before its start was over.
  if (ending.cause === 'exception' || ending.cause === 'failed') {
    const agents = [...sim.agents.values()].filter((agent) => agent.run.spec?.id === one.id);
    return agents.some((agent) => agent.hasRaised) ? null : 'its agent raised nothing';
  }
  if (ending.cause === 'agent_session_failed') {
    const agents = [...sim.agents.values()].filter((agent) => agent.run.spec?.id === one.id);
    return agents.some((agent) => agent.hasFailed) ? null : 'no error closed its AgentSession';
  }
  const id = workerOf(session)?.id;
  const run = id === undefined ? undefined : sim.host.runs.get(id);
  if (ending.cause === 'spawn_failed') return run === undefined ? null : 'its worker did run';
  // The command could not be executed.
  if (run === undefined && id !== undefined && sim.host.folder(id).status !== null) return null;
  if (run?.end == null) return 'its worker did not end';
  if (run.end.by !== 'itself') return `its worker was ended by ${run.end.by}`;
  const isOver = run.end.code === 0 && session.spec.profile.protocol !== 'livekit';
  return isOver ? 'its worker exited with 0' : null;
}

function startTimeout({ sim, one, ending, session, endMs }: Claimed): string | null {
  if (ending.cause === 'queue_timeout') {
    if (ending.detail?.includes('restarted')) return null;
    // A call of LiveKit's dispatch or of a room pattern waits only for its room, not for the queue timeout.
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

/** Race: curfew may not have seen yet that a worker died within the last seconds. */
function unkillable(claimed: Claimed): string | null {
  const runs = runsOf(claimed);
  if (!runs.some((run) => run.killed)) return 'curfew sent no SIGKILL';
  const { sim } = claimed;
  const lives = runs.some((run) => sim.host.members(run).length > 0 || run.shim.alive);
  const justDied = runs.some((run) => sim.world.nowMs - run.lastDeathMs < 2_600);
  return lives || justDied ? null : 'it is dead';
}

type Is = (moment: Moment) => boolean;

function absence(claimed: Claimed): string | null {
  const { sim, one, endMs } = claimed;
  const all = sim.generation?.rooms.delivered(one.spec.room.name) ?? [];
  const recent = all.filter(
    ({ deliveredMs }) => deliveredMs <= endMs + SLACK_MS && deliveredMs >= endMs - RECORD_MS,
  );
  if (recent.length === 0) return 'no snapshot of the room decided it';
  const lies = recent.map((snapshot) => absent(claimed, snapshot));
  return lies.includes(null) ? null : lies.join('; ');
}

function absent(claimed: Claimed, snapshot: Delivered): string | null {
  // curfew cannot know that LiveKit's list is wrongly empty. The budget for mass ends holds such endings back.
  if (snapshot.blind) return null;
  const { ending, one, endMs } = claimed;
  const { limits, profile } = one.spec;
  const has =
    (side: string): Is =>
    (moment) =>
      moment.people.some((who) => is(claimed, who, { side, atMs: moment.fromMs }));
  switch (ending.reason) {
    case 'callers_left':
      if (!everWas(claimed, has('caller'))) return 'no caller ever joined';
      return missing(claimed, snapshot, { there: has('caller'), graceMs: graceMs(claimed, snapshot) });
    case 'not_answered': {
      if (!everWas(claimed, has('ringing'))) return 'no phone ever rang';
      return missing(claimed, snapshot, { there: has('caller'), graceMs: 0 });
    }
    case 'no_caller_joined':
      return (
        atLeast('since its start', endMs - (one.startedMs ?? endMs), limits.noCallerMs) ??
        missing(claimed, snapshot, { there: has('caller'), graceMs: 0 })
      );
    case 'no_active_stream': {
      const heard: Is = (moment) =>
        moment.people.some(
          (who) => is(claimed, who, { side: 'caller', atMs: moment.fromMs }) && who.audioTracks > 0,
        );
      const boundMs = limits.noActiveStreamMs ?? 0;
      if (claimed.session.liveAt === null) return 'its start was not over';
      return (
        atLeast('since its slow start', endMs - liveMs(claimed), boundMs) ??
        atLeast('since its last use', endMs - one.lastActivityMs, boundMs - MAILBOX_MS) ??
        missing(claimed, snapshot, { there: heard, graceMs: boundMs })
      );
    }
    case 'agent_absent': {
      const fine: Is = (moment) => !has('caller')(moment) || has('own_agent')(moment);
      return missing(claimed, snapshot, { there: fine, graceMs: profile.agentAbsentMs });
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

function is(
  { one, speakerMs }: Claimed,
  who: Participant,
  { side, atMs }: { readonly side: string; readonly atMs: number },
): boolean {
  const isNobody = side === 'caller' && who.listens === true && atMs >= speakerMs;
  return !isNobody && sideOf(who, one.spec.agentIdentity) === side;
}

/** Includes the last moments before the session, because curfew cannot recognise their late webhooks. */
function everWas({ sim, one, endMs }: Claimed, was: Is): boolean {
  const history = sim.livekit.history(one.spec.room.name);
  const first = history.findLastIndex((moment) => moment.fromMs <= one.seenMs - UNSEEN_MS);
  return history.slice(Math.max(0, first)).some((moment) => moment.fromMs <= endMs && was(moment));
}

/** Absent at the snapshot and for the grace before it. Visits that are too short to be seen do not count. */
function missing(
  { sim, one, endMs }: Claimed,
  snapshot: Delivered,
  { there, graceMs }: { there: Is; graceMs: number },
): string | null {
  const { name } = one.spec.room;
  const atSnapshot = sim.livekit.moment(name, snapshot.trueMs);
  const atEnd = sim.livekit.moment(name, endMs);
  if (there(atSnapshot) && there(atEnd)) return 'LiveKit had no such absence when it was asked';
  const sinceMs = absentSince(sim.livekit.history(name), there(atSnapshot) ? endMs : snapshot.trueMs, there);
  // A participant that left while LiveKit gave empty lists, or before the first poll after them, is missing since the first empty list.
  const spell = sim.livekit.blindSpells.find(
    ({ fromMs, toMs }) => fromMs <= sinceMs && sinceMs <= firstPollAfter(sim, name, toMs),
  );
  const fromMs = Math.max(spell?.fromMs ?? unseenFrom(sim, name, sinceMs), 0);
  return atLeast('of absence', snapshot.deliveredMs - fromMs, graceMs);
}

function liveMs({ sim, session: { liveAt } }: Claimed): number {
  return liveAt === null ? 0 : sim.world.ofBoot(liveAt.bootMs);
}

function firstPollAfter({ generation }: Sim, room: string, sinceMs: number): number {
  return generation?.rooms.delivered(room).find(({ trueMs }) => trueMs >= sinceMs)?.trueMs ?? sinceMs;
}

/** A participant that left between an adoption or a gap and the next snapshot is missing since the adoption or gap. */
function unseenFrom({ generation, ledger }: Sim, room: string, sinceMs: number): number {
  const { countedMs } = ledger;
  const first = generation?.rooms.delivered(room).find(({ trueMs }) => trueMs >= countedMs);
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

/** The short grace follows a hang-up, the long one a lost connection. After an adoption or a gap every departure counts as lost. */
function graceMs(claimed: Claimed, snapshot: Delivered): number {
  const { sim, one } = claimed;
  const { callersLostMs } = one.spec.limits;
  const { callersLeftMs, phonesLeftMs = callersLeftMs } = one.spec.limits;
  const gone = (sim.ledger.departures.get(one.spec.room.name) ?? []).filter(
    ({ person, atMs }) => atMs <= snapshot.deliveredMs && is(claimed, person, { side: 'caller', atMs }),
  );
  const latest = gone.at(-1);
  // A short visit after the hang-up may pass unseen, and one inside a gap does. The hang-up then still counts.
  const { gapFromMs, gapEndMs } = sim.world;
  const inGap = latest !== undefined && latest.atMs >= gapFromMs && latest.atMs <= gapEndMs;
  const unseenFromMs = Math.min(
    (latest?.atMs ?? 0) - UNSEEN_MS,
    inGap ? gapFromMs : Number.POSITIVE_INFINITY,
  );
  const recent = gone.filter(({ atMs }) => atMs >= unseenFromMs);
  const hungUp = recent.filter(({ reason }) => FINAL.includes(reason));
  if (latest !== undefined && hungUp.length === 0) return callersLostMs;
  // The visit that passed unseen may be of another kind than the caller that is known to have hung up.
  return hungUp.some(({ person }) => person.kind === 'sip') ? phonesLeftMs : callersLeftMs;
}
