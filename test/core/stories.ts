/** Random stories for properties: any events in any order, with varied contents. */
import fc from 'fast-check';
import { workerId as workerOf } from '../../src/core/ids.ts';
import type { Effect } from '../../src/core/model/effects.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { decide } from '../../src/core/session/decide.ts';
import {
  AGENT,
  at,
  exited,
  PROCESS,
  participant,
  profile,
  ROOM_SID,
  release,
  roomEvent,
  says,
  shutdown,
  spec,
  WORKER,
} from './support.ts';

const people = [
  participant('ann'),
  participant('bob', { audioTracks: 0 }),
  participant('sip', { kind: 'sip', sipCallStatus: 'ringing' }),
  participant(AGENT, { kind: 'agent' }),
];
const who = fc.subarray(people);
const sid = fc.constantFrom(ROOM_SID, 'RM_2');
const OTHER_WARM = workerOf('warm-2.1');
const worker = fc.constantFrom(WORKER, workerOf('s1.2'), OTHER_WARM, workerOf('stranger'));

/** Every kind of event, with varied contents. `nowMs`: the time of the event. */
const anyEvent = (nowMs: number): fc.Arbitrary<SessionEvent> =>
  fc.oneof(
    fc.constant<SessionEvent>({ type: 'granted', startAtMs: nowMs, workerId: WORKER }),
    fc.constant<SessionEvent>({ type: 'granted', startAtMs: nowMs, workerId: WORKER, warm: PROCESS }),
    fc.constantFrom<SessionEvent>(
      { type: 'assigned' },
      { type: 'job_terminated' },
      { type: 'job_withdrawn', why: 'late' },
      { type: 'side_room_snapshot', callers: 1 },
      { type: 'host_lost' },
    ),
    fc.constant<SessionEvent>({ type: 'expired', detail: 'host' }),
    fc.constant<SessionEvent>({ type: 'tick' }),
    worker.map((workerId): SessionEvent => ({ type: 'spawned', workerId, process: PROCESS })),
    worker.map((workerId): SessionEvent => ({ type: 'spawn_failed', workerId, detail: 'no' })),
    worker.map((workerId): SessionEvent => ({ type: 'not_started', workerId })),
    worker.map(
      (workerId): SessionEvent => ({
        type: 'warm_taken',
        workerId,
        warm: { id: OTHER_WARM, process: PROCESS },
      }),
    ),
    worker.map((workerId): SessionEvent => ({ type: 'assign_failed', workerId, detail: 'no token' })),
    worker.map((workerId): SessionEvent => ({ type: 'attached', workerId, by: 'launcher' })),
    fc
      .tuple(worker, fc.boolean())
      .map(([workerId, open]): SessionEvent => ({ type: 'channel', workerId, open })),
    fc
      .tuple(
        worker,
        fc.constantFrom(
          { type: 'ready' as const },
          { type: 'heartbeat' as const },
          { type: 'activity' as const, kind: 'task' as const },
          { type: 'agent_session' as const, open: 1 },
          { type: 'agent_session' as const, open: 0, closed: { reason: 'error', provider: 'llm' } },
          { type: 'loop_blocked' as const, forMs: 5000 },
          { type: 'dialled' as const },
          { type: 'ok' as const },
          { type: 'error' as const, message: 'e' },
          { type: 'closed' as const },
          { type: 'failed' as const, message: 'f' },
          { type: 'configured' as const, rev: 1 },
          { type: 'dumped' as const },
        ),
      )
      .map(([id, message]) => says(message, id)),
    fc
      .tuple(
        worker,
        fc.constantFrom<[number | null, string | null]>(
          [0, null],
          [1, null],
          [null, 'SIGKILL'],
          [null, null],
        ),
      )
      .map(([id, [code, signal]]) => exited(code, signal, id)),
    fc
      .tuple(worker, fc.integer({ min: 0, max: 2 }))
      .map(([workerId, left]): SessionEvent => ({ type: 'tree', workerId, left })),
    fc
      .tuple(who, fc.option(sid), fc.integer({ min: 0, max: 40_000 }))
      .map(([participants, roomSid, ageMs]): SessionEvent => {
        const asOf = at(Math.max(0, nowMs - ageMs));
        return {
          type: 'room_snapshot',
          observation: {
            asOf,
            roomSid,
            roomCreatedWallMs: null,
            participants: roomSid === null ? [] : participants,
          },
        };
      }),
    fc
      .tuple(
        fc.constantFrom(...people),
        sid,
        fc.constantFrom('client_initiated' as const, 'signal_close' as const),
      )
      .map(([one, roomSid, reason]) =>
        roomEvent({ kind: 'left', roomSid, participant: one, reason, at: at(nowMs) }),
      ),
    fc
      .tuple(fc.constantFrom(...people), sid)
      .map(([one, roomSid]) => roomEvent({ kind: 'joined', roomSid, participant: one, at: at(nowMs) })),
    sid.map((roomSid) => roomEvent({ kind: 'finished', roomSid, at: at(nowMs) })),
    fc.boolean().map((reachable): SessionEvent => ({ type: 'livekit', reachable })),
    fc.constantFrom(release, shutdown),
    fc.constant<SessionEvent>({ type: 'claim_wanted' }),
    fc.constant<SessionEvent>({ type: 'keep_alive', forMs: 60_000, by: { kind: 'local', name: 'x' } }),
    fc.constant<SessionEvent>({ type: 'metadata', metadata: { a: 1 } }),
    fc.boolean().map((granted): SessionEvent => ({ type: 'budget', granted })),
    fc.constantFrom<SessionEvent>(
      { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null },
      { type: 'room_step', step: 'close_room', outcome: 'failed', detail: 'x' },
    ),
    fc.constant<SessionEvent>({ type: 'gap', gapMs: 10_000 }),
    worker.map(
      (workerId): SessionEvent => ({
        type: 'resources',
        workerId,
        memory: { bytes: 2_000_000, measure: 'rss' },
        cpuPercent: 1,
      }),
    ),
  );

/** The time at which events are made. `moved` shifts their stamps to the time at which they happen. */
const MADE_MS = 60_000;
export const story = fc.array(
  fc
    .integer({ min: 0, max: 30_000 })
    .chain((waitMs) => anyEvent(MADE_MS).map((event) => ({ waitMs, event }))),
  { maxLength: 40 },
);
export const specs = fc.constantFrom(
  spec(),
  spec({ livekit: false }),
  spec({ profile: profile({ replace: true, memoryBytes: 1_000_000 }) }),
  spec({ profile: profile({ protocol: 'none', replace: true }), idleAsked: true }),
);

function moved(event: SessionEvent, byMs: number): SessionEvent {
  const stamp = ({ bootMs }: { bootMs: number }) => at(Math.max(0, bootMs + byMs));
  if (event.type === 'room_snapshot')
    return { ...event, observation: { ...event.observation, asOf: stamp(event.observation.asOf) } };
  return event.type === 'room_webhook'
    ? { ...event, event: { ...event.event, at: stamp(event.event.at) } }
    : event;
}

export function play(
  start: Session,
  steps: readonly { waitMs: number; event: SessionEvent }[],
  see: (before: Session, after: Session, seen: { event: SessionEvent; effects: readonly Effect[] }) => void,
): { session: Session; nowMs: number } {
  let session = start;
  let nowMs = 0;
  for (const { waitMs, event: made } of steps) {
    nowMs += waitMs;
    const before = session;
    const event = moved(made, nowMs - MADE_MS);
    const { state, effects } = decide(before, event, at(nowMs));
    session = state;
    see(before, session, { event, effects });
  }
  return { session, nowMs };
}
