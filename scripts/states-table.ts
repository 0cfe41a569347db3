/** docs/states.md: what every event does in every state, found by running the core itself on samples. */

import type { Found, SessionEvent } from '../src/core/model/events.ts';
import type { Session } from '../src/core/model/session.ts';
import { publicState } from '../src/core/model/session.ts';
import { decide } from '../src/core/session/decide.ts';
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

const NOW_MS = 2000;
const ann = participant('ann');
const MEMORY_BYTES = 1_000_000;
const started = { type: 'granted', startAtMs: 0, workerId: WORKER } as const;

const resources = (rssBytes: number): SessionEvent => ({
  type: 'resources',
  workerId: WORKER,
  rssBytes,
  cpuPercent: 1,
});
const adopted = (found: Found): SessionEvent => ({ type: 'adopted', found, isRetry: false });
const limited = { profile: profile({ memoryBytes: MEMORY_BYTES }) };
const promised = {
  job: { id: 'AJ_1', agentName: 'voice', metadata: '', attributes: {} },
  unasked: true,
} as const;

const STATES: Readonly<Record<string, Session>> = {
  queued: Play.queued().session,
  'queued, promised to LiveKit': Play.queued(promised).on(0, { ...started, assignedByMs: 3000 }).session,
  'starting, not spawned': Play.queued().on(0, started).session,
  starting: Play.starting().session,
  'starting, warm': Play.queued().on(0, { ...started, warm: PROCESS }).session,
  live: Play.live(limited).on(100, look(100, [agent, ann])).session,
  'live, over its memory': Play.live(limited)
    .on(100, look(100, [agent, ann]))
    .on(1900, resources(2 * MEMORY_BYTES)).session,
  'live, replacing': Play.live({ profile: profile({ replace: true }) })
    .on(100, look(100, [agent, ann]))
    .on(200, exited(1)).session,
  'closing: aclose': Play.live()
    .on(100, look(100, [agent, ann]))
    .on(1000, release).session,
  'closing: disconnect': Play.live()
    .on(100, look(100, [agent, ann]))
    .on(1000, release)
    .on(1100, says({ type: 'closed' })).session,
  'closing: term': Play.starting({ profile: profile({ protocol: 'none' }) }).on(1000, release).session,
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
};

/** So is a kind of event. */
const EVENTS: { readonly [K in SessionEvent['type']]: Samples } = {
  granted: {
    'granted, now': { ...started, startAtMs: NOW_MS },
    'granted, later': { ...started, startAtMs: NOW_MS + 500 },
    'granted, to be assigned by LiveKit': { ...started, startAtMs: NOW_MS, assignedByMs: NOW_MS + 500 },
    'granted, with a warm worker': { ...started, startAtMs: NOW_MS, warm: PROCESS },
  },
  assigned: { assigned: { type: 'assigned' } },
  job_terminated: { 'job terminated by LiveKit': { type: 'job_terminated' } },
  job_withdrawn: { 'job withdrawn, LiveKit did not hear yes': { type: 'job_withdrawn', why: 'late' } },
  expired: { 'expired (queue)': { type: 'expired', detail: 'limit host' } },
  tick: { 'tick, nothing due': { type: 'tick' } },
  spawned: { spawned: { type: 'spawned', workerId: WORKER, process: PROCESS } },
  spawn_failed: { spawn_failed: { type: 'spawn_failed', workerId: WORKER, detail: 'no such command' } },
  not_started: { not_started: { type: 'not_started', workerId: WORKER } },
  channel: {
    'channel opens': { type: 'channel', workerId: WORKER, open: true },
    'channel closes': { type: 'channel', workerId: WORKER, open: false },
  },
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
  host_lost: { 'node lost (rebooted)': { type: 'host_lost' } },
  tree: {
    'tree: some left': { type: 'tree', workerId: WORKER, left: 1 },
    'tree: gone': gone(),
  },
  room_snapshot: {
    'look: a caller': look(NOW_MS, [agent, ann]),
    'look: nobody': look(NOW_MS, []),
    'look: no room': look(NOW_MS, [], { roomSid: null }),
  },
  side_room_snapshot: {
    'look: a caller in the side room': { type: 'side_room_snapshot', callers: 1 },
    'look: the side room is empty': { type: 'side_room_snapshot', callers: 0 },
  },
  room_event: {
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
  const { state, effects } = decide(before, event, at(NOW_MS));
  const moved = stepOf(state) === stepOf(before) ? [] : [`→ ${stepOf(state)}`];
  const done = effects.map((effect) =>
    effect.do === 'tell'
      ? `tell ${effect.message.type}`
      : effect.do === 'signal'
        ? effect.signal
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

export function statesTable(): string {
  const names = Object.keys(STATES);
  const samples = Object.values(EVENTS).flatMap((kind) => Object.entries(kind));
  const rows = samples.map(
    ([name, event]) =>
      `| ${[name, ...names.map((state) => outcome(STATES[state] as Session, event))].join(' | ')} |`,
  );
  return [
    '# Every event in every state',
    '',
    'Printed by `npm run docs` from `src/core/` itself, on one sample of each state; a test keeps it current. `·` changes nothing, `noted` changes what is known and nothing else, `→` is a change of state, the rest are effects.',
    '',
    `| event | ${names.join(' | ')} |`,
    `|---|${names.map(() => '---').join('|')}|`,
    ...rows,
    '',
  ].join('\n');
}
