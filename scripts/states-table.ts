/** docs/reference/states.md: what every event does in every state, found by running the core itself on samples. */

import type { AgentAnswer } from '../src/core/model/agent-answer.ts';
import type { Found, SessionEvent } from '../src/core/model/events.ts';
import type { Session } from '../src/core/model/session.ts';
import { publicState } from '../src/core/model/session.ts';
import { decide, HANDLERS } from '../src/core/session/decide.ts';
import { factsOnly } from '../src/core/session/handler-table.ts';
import { DEFAULT_LADDER } from '../src/lib/limits/session-limits.ts';
import {
  agent,
  at,
  exited,
  gone,
  joined,
  left,
  look,
  Play,
  PROCESS,
  participant,
  profile,
  release,
  roomEvent,
  says,
  shutdown,
  WORKER,
} from '../test/core/support.ts';
import { deadlineTables, stepTables, table } from './timeout-tables.ts';

const NOW_MS = 2000;
const ann = participant('ann');
const MEMORY_BYTES = 1_000_000;
const started = { type: 'granted', startAtMs: 0, workerId: WORKER } as const;
const answered = { type: 'answered', workerId: WORKER, isTaken: false } as const;
const ACCEPTANCE: AgentAnswer = {
  kind: 'accepted',
  identity: 'helper',
  name: '',
  metadata: '',
  attributes: {},
  permissions: null,
  agentGrant: false,
};

const resources = (bytes: number): SessionEvent => ({
  type: 'resources',
  workerId: WORKER,
  memory: { bytes, measure: 'rss' },
  cpuPercent: 1,
});
const adopted = (found: Found): SessionEvent => ({ type: 'adopted', found, retryOf: null });
/** So that KILL and its scan come within the time of the samples. */
const SHORT = { ...DEFAULT_LADDER, termMs: 400, killMs: 400 };
const limited = { profile: profile({ memoryBytes: MEMORY_BYTES }) };
const promised = {
  job: { id: 'AJ_1', agentName: 'voice', metadata: '', attributes: {} },
  unasked: true,
} as const;

const inCall = (more: Parameters<typeof Play.live>[0] = {}) =>
  Play.live(more).on(100, look(100, [agent, ann]));
const level0 = () => Play.starting({ profile: profile({ protocol: 'none' }) }).on(1000, release);
const closed = says({ type: 'closed' });

/** Samples before a teardown, and during one. */
const OPEN: Readonly<Record<string, Session>> = {
  queued: Play.queued().session,
  'queued, promised to LiveKit': Play.queued(promised).on(0, { ...started, assignedByMs: 3000 }).session,
  'starting, not spawned': Play.queued().on(0, started).session,
  starting: Play.starting().session,
  'starting, warm': Play.queued().on(0, { ...started, warm: PROCESS }).session,
  live: inCall(limited).session,
  'live, over its memory': inCall(limited).on(1900, resources(2 * MEMORY_BYTES)).session,
  'live, replacing': inCall({ profile: profile({ replace: true }) }).on(200, exited(1)).session,
};
const CLOSING: Readonly<Record<string, Session>> = {
  'closing: spawning': Play.queued().on(0, started).on(1000, release).session,
  'closing: reconnecting': inCall()
    .on(900, { type: 'channel', workerId: WORKER, open: false })
    .on(1000, release).session,
  'closing: aclose': inCall().on(1000, release).session,
  'closing: disconnect': inCall().on(1000, release).on(1100, closed).session,
  'closing: reap': inCall().on(1000, release).on(1100, closed).on(1200, exited(0)).session,
  'closing: term': level0().session,
  'closing: term_rest': level0().on(1100, exited(0)).session,
  'closing: kill': Play.starting({ profile: profile({ protocol: 'none', ladder: SHORT }) })
    .on(1000, release)
    .until(1500).session,
  'closing: confirm': Play.starting({ profile: profile({ protocol: 'none', ladder: SHORT }) })
    .on(1000, release)
    .until(1999).session,
  'closing: over, closing the room': level0()
    .on(1100, exited(null, 'SIGTERM'))
    .on(1110, gone())
    .on(1200, { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null }).session,
  ended: Play.live({ livekit: false }).on(100, exited(0)).on(110, gone()).session,
};

type Said = Extract<SessionEvent, { type: 'message' }>['message']['type'];
type Samples = Readonly<Record<string, SessionEvent>>;

const message = (type: Said, more: object = {}) => says({ type, ...more } as Parameters<typeof says>[0]);
/** A kind of message without a sample is no program. */
const MESSAGES: { readonly [K in Said]: SessionEvent } = {
  ready: message('ready'),
  heartbeat: message('heartbeat'),
  activity: message('activity', { kind: 'task' }),
  ok: message('ok'),
  error: message('error', { message: 'boom' }),
  failed: message('failed', { message: 'no voice' }),
  closed: message('closed'),
  configured: message('configured', { rev: 0 }),
  dumped: message('dumped'),
  agent_session: message('agent_session', { open: 0, closed: { reason: 'error', provider: 'llm' } }),
  loop_blocked: message('loop_blocked', { forMs: 5000 }),
  dialled: message('dialled'),
};

/** So is a kind of event. */
const EVENTS: { readonly [K in SessionEvent['type']]: Samples } = {
  granted: {
    'granted, now': { ...started, startAtMs: NOW_MS },
    'granted, later': { ...started, startAtMs: NOW_MS + 500 },
    'granted, to be assigned by LiveKit': { ...started, startAtMs: NOW_MS, assignedByMs: NOW_MS + 500 },
    'granted, with a warm worker': { ...started, startAtMs: NOW_MS, warm: PROCESS },
  },
  warm_taken: {
    'a warm worker takes the place of the replacement': {
      type: 'warm_taken',
      workerId: WORKER,
      warm: { id: WORKER, process: PROCESS },
    },
  },
  assigned: { assigned: { type: 'assigned' } },
  job_terminated: { 'job terminated by LiveKit': { type: 'job_terminated' } },
  job_withdrawn: { 'job withdrawn, LiveKit did not hear yes': { type: 'job_withdrawn', why: 'late' } },
  answered: {
    'the agent accepts its job': { ...answered, answer: ACCEPTANCE },
    'the agent rejects its job': { ...answered, answer: { kind: 'rejected', isFinal: true } },
  },
  expired: { 'expired (queue)': { type: 'expired', detail: 'limit host' } },
  tick: { 'tick, nothing due': { type: 'tick' } },
  spawned: { spawned: { type: 'spawned', workerId: WORKER, process: PROCESS } },
  spawn_failed: { spawn_failed: { type: 'spawn_failed', workerId: WORKER, detail: 'no such command' } },
  not_started: { not_started: { type: 'not_started', workerId: WORKER } },
  assign_failed: { assign_failed: { type: 'assign_failed', workerId: WORKER, detail: 'no token' } },
  channel: {
    'channel opens': { type: 'channel', workerId: WORKER, open: true },
    'channel closes': { type: 'channel', workerId: WORKER, open: false },
  },
  attached: { 'attached by the launcher': { type: 'attached', workerId: WORKER, by: 'launcher' } },
  message: Object.fromEntries(Object.entries(MESSAGES).map(([type, said]) => [`worker: ${type}`, said])),
  exited: {
    'exited with 0': exited(0),
    'exited with 1': exited(1),
    'exited, status unknown': exited(null),
  },
  queued: { 'queued: no slot is free': { type: 'queued' } },
  record_failed: { 'first record failed': { type: 'record_failed', detail: 'no space left on device' } },
  adopted: {
    'adopted: its worker runs': adopted({ kind: 'present', process: PROCESS, exit: null, isMute: false }),
    'adopted: its worker exited with 0': adopted({
      kind: 'present',
      process: PROCESS,
      exit: { code: 0, signal: null, at: at(NOW_MS) },
      isMute: false,
    }),
    'adopted: nothing is left of its worker': adopted({ kind: 'absent' }),
    'adopted: it has no worker': adopted({ kind: 'no_worker' }),
    'adopted: its worker could not be searched for': adopted({ kind: 'not_searched' }),
    'adopted: the host was rebooted': adopted({ kind: 'other_boot' }),
  },
  host_lost: { 'host lost (rebooted)': { type: 'host_lost' } },
  tree: {
    'tree: some left': { type: 'tree', workerId: WORKER, left: 1 },
    'tree: gone': gone(),
  },
  room_snapshot: {
    'snapshot: a caller': look(NOW_MS, [agent, ann]),
    'snapshot: nobody': look(NOW_MS, []),
    'snapshot: no room': look(NOW_MS, [], { roomSid: null }),
  },
  side_room_snapshot: {
    'snapshot: a caller in the side room': { type: 'side_room_snapshot', callers: 1 },
    'snapshot: the side room is empty': { type: 'side_room_snapshot', callers: 0 },
  },
  room_webhook: {
    'webhook: joined': joined(NOW_MS, participant('bob')),
    'webhook: caller left': left(NOW_MS, ann, 'client_initiated'),
    'webhook: agent left': left(NOW_MS, agent, 'client_initiated'),
    'webhook: changed': roomEvent({ kind: 'changed', roomSid: 'RM_1', at: at(NOW_MS) }),
    'webhook: room finished': roomEvent({ kind: 'finished', roomSid: 'RM_1', at: at(NOW_MS) }),
  },
  livekit: {
    'LiveKit away': { type: 'livekit', reachable: false },
    'LiveKit back': { type: 'livekit', reachable: true },
  },
  release: { release, shutdown },
  claim_wanted: { 'claim wanted': { type: 'claim_wanted' } },
  keep_alive: { 'keep-alive': { type: 'keep_alive', forMs: 60_000, by: { kind: 'local', name: 'x' } } },
  metadata: { 'new metadata': { type: 'metadata', metadata: { lang: 'fr' } } },
  budget: {
    'budget: granted': { type: 'budget', granted: true },
    'budget: held': { type: 'budget', granted: false },
  },
  room_step: {
    'agent removed from the room': { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null },
    'room closed': { type: 'room_step', step: 'close_room', outcome: 'done', detail: null },
  },
  gap: { gap: { type: 'gap', gapMs: 10_000 } },
  resources: {
    'resources, under the limit': resources(1000),
    'resources, over the limit': resources(2 * MEMORY_BYTES),
  },
};

function outcome(before: Session, event: SessionEvent): string {
  return outcomeOf(before, decide(before, event, at(NOW_MS)));
}

/** The changes and effects of a step. */
function outcomeOf(before: Session, { state, effects }: ReturnType<typeof decide>): string {
  const moved = stepOf(state) === stepOf(before) ? [] : [`→ ${stepOf(state)}`];
  const done = effects.map((effect) =>
    effect.do === 'tell'
      ? `tell ${effect.message.type}`
      : effect.do === 'signal'
        ? `${effect.signal}${effect.to === 'main' ? ' to main' : ''}`
        : effect.do.replaceAll('_', ' '),
  );
  if (moved.length + done.length > 0) return [...moved, ...done].join(', ');
  return JSON.stringify(state) === JSON.stringify(before) ? '·' : 'noted';
}

/** The public state, and where in it: the ladder's step, or the reason. */
function stepOf(session: Session): string {
  const { phase } = session;
  const state = publicState(session);
  if (phase.name === 'closing') return `closing (${phase.ending.reason}, ${phase.ladder.process.step})`;
  if (phase.name === 'ended') return `${state} (${phase.ending.reason})`;
  return phase.name === 'live' && phase.work.kind === 'replacing' ? 'live, replacing' : state;
}

function eventsTable(states: Readonly<Record<string, Session>>): string[] {
  const samples = Object.values(EVENTS).flatMap((kind) => Object.entries(kind));
  return table(
    ['event', ...Object.keys(states)],
    samples.map(([name, event]) => [name, ...Object.values(states).map((state) => outcome(state, event))]),
  );
}

/** From the handler tables: which events a phase ignores. */
function handlersTable(): string[] {
  const phases = Object.values(HANDLERS);
  const events = Object.keys(HANDLERS.queued) as (keyof typeof HANDLERS.queued)[];
  return table(
    ['event', ...Object.keys(HANDLERS)],
    events.map((event) => [event, ...phases.map((one) => (one[event] === factsOnly ? '·' : 'handled'))]),
  );
}

export function statesTable(): string {
  return [
    '# Every event and every timeout in every state',
    '',
    'Printed by `npm run docs` from the tables of `src/core/` itself; a test keeps it current. `·` changes nothing, `noted` changes what is known and nothing else, `→` is a change of state, the rest are effects.',
    '',
    '## Which phase handles which event',
    '',
    'From the handler tables in `src/core/session/`. An event that a phase does not handle can still be noted: `apply-event.ts` takes in its facts first. `adopted` stands for the events that nobody delivered, and each of those has its row.',
    '',
    ...handlersTable(),
    '',
    '## Before the teardown',
    '',
    'Found by running the core on one sample of each state.',
    '',
    ...eventsTable(OPEN),
    '',
    '## During the teardown, and afterwards',
    '',
    ...eventsTable(CLOSING),
    '',
    ...deadlineTables(outcomeOf),
    ...stepTables(),
  ].join('\n');
}
