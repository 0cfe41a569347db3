/** docs/states.md: what every event does in every state, found by running the core itself on samples. */
import { decide } from '../src/core/decide.ts';
import type { SessionEvent } from '../src/core/event.ts';
import type { Session } from '../src/core/session.ts';
import { publicState } from '../src/core/session.ts';
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
  WORKER,
} from '../test/core/support.ts';

const NOW_MS = 2000;
const ann = participant('ann');
const started = { type: 'granted', startAtMs: 0, workerId: WORKER } as const;

const STATES: Readonly<Record<string, Session>> = {
  queued: Play.queued().session,
  'starting, not spawned': Play.queued().on(0, started).session,
  starting: Play.starting().session,
  live: Play.live().on(100, look(100, [agent, ann])).session,
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

const EVENTS: Readonly<Record<string, SessionEvent>> = {
  'granted, now': { ...started, startAtMs: NOW_MS },
  'granted, later': { ...started, startAtMs: NOW_MS + 500 },
  'expired (queue)': { type: 'expired', detail: 'limit host' },
  'tick, nothing due': { type: 'tick' },
  spawned: { type: 'spawned', workerId: WORKER, process: PROCESS },
  spawn_failed: { type: 'spawn_failed', workerId: WORKER, detail: 'no such command' },
  not_started: { type: 'not_started', workerId: WORKER },
  'channel opens': { type: 'channel', workerId: WORKER, open: true },
  'channel closes': { type: 'channel', workerId: WORKER, open: false },
  'worker: ready': says({ type: 'ready' }),
  'worker: heartbeat': says({ type: 'heartbeat' }),
  'worker: activity': says({ type: 'activity', kind: 'task' }),
  'worker: ok': says({ type: 'ok' }),
  'worker: error': says({ type: 'error', message: 'boom' }),
  'worker: closed': says({ type: 'closed' }),
  'worker: configured': says({ type: 'configured', rev: 0 }),
  'worker: dumped': says({ type: 'dumped' }),
  'exited with 0': exited(0),
  'exited with 1': exited(1),
  'exited, status unknown': exited(null),
  'tree: some left': { type: 'tree', workerId: WORKER, left: 1 },
  'tree: gone': gone(),
  'look: a caller': look(NOW_MS, [agent, ann]),
  'look: nobody': look(NOW_MS, []),
  'look: no room': look(NOW_MS, [], { roomSid: null }),
  'webhook: joined': joined(NOW_MS, participant('bob')),
  'webhook: caller left': left(NOW_MS, ann, 'client_initiated'),
  'webhook: agent left': left(NOW_MS, agent, 'client_initiated'),
  'webhook: room finished': roomEvent({ kind: 'finished', roomSid: 'RM_1', at: at(NOW_MS) }),
  'LiveKit away': { type: 'livekit', reachable: false },
  'LiveKit back': { type: 'livekit', reachable: true },
  release: release,
  shutdown: { ...release, reason: 'shutdown' } as SessionEvent,
  'claim wanted': { type: 'claim_wanted' },
  'keep-alive': { type: 'keep_alive', forMs: 60_000, by: { kind: 'local', name: 'x' } },
  'new metadata': { type: 'metadata', metadata: { lang: 'fr' } },
  'budget: granted': { type: 'budget', granted: true },
  'budget: held': { type: 'budget', granted: false },
  'agent removed from the room': { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null },
  'room closed': { type: 'room_step', step: 'close_room', outcome: 'done', detail: null },
  gap: { type: 'gap', gapMs: 10_000 },
  'resources, under the limit': { type: 'resources', workerId: WORKER, rssBytes: 1000, cpuPercent: 1 },
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
  const rows = Object.entries(EVENTS).map(
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
