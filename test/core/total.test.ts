/** Whatever comes in whatever order: nothing throws, nothing that ended changes, nothing waits for ever. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Effect } from '../../src/core/model/effects.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { isEnded, publicState } from '../../src/core/model/session.ts';
import { newSession } from '../../src/core/model/updates.ts';
import { nextTickMs } from '../../src/core/session/deadlines.ts';
import { decide } from '../../src/core/session/decide.ts';
import { DEADLINES, DEFAULT_LADDER } from '../../src/lib/limits/session-limits.ts';
import {
  AGENT,
  at,
  exited,
  gone,
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
const worker = fc.constantFrom(WORKER, 's1.2' as typeof WORKER, 'stranger' as typeof WORKER);

/** Every kind of event, with what matters in it varied; `nowMs` is where the clock stands. */
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
      (workerId): SessionEvent => ({ type: 'resources', workerId, rssBytes: 2_000_000, cpuPercent: 1 }),
    ),
  );

/** Where the clock stands when an event is made; `moved` brings its stamps to where it stands when it happens. */
const MADE_MS = 60_000;
const story = fc.array(
  fc
    .integer({ min: 0, max: 30_000 })
    .chain((waitMs) => anyEvent(MADE_MS).map((event) => ({ waitMs, event }))),
  { maxLength: 40 },
);
const specs = fc.constantFrom(
  spec(),
  spec({ livekit: false }),
  spec({ profile: profile({ replace: true, memoryBytes: 1_000_000 }) }),
  spec({ profile: profile({ protocol: 'none', replace: true }), idleAsked: true }),
);

function moved(event: SessionEvent, byMs: number): SessionEvent {
  const stamp = ({ bootMs }: { bootMs: number }) => at(Math.max(0, bootMs + byMs));
  if (event.type === 'room_snapshot')
    return { ...event, observation: { ...event.observation, asOf: stamp(event.observation.asOf) } };
  return event.type === 'room_event'
    ? { ...event, event: { ...event.event, at: stamp(event.event.at) } }
    : event;
}

function play(
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

const LADDER_MS =
  DEADLINES.spawnMs +
  DEADLINES.reapMs +
  DEADLINES.confirmMs +
  DEFAULT_LADDER.wrapUpMs +
  DEFAULT_LADDER.disconnectMs +
  DEFAULT_LADDER.termMs +
  DEFAULT_LADDER.killMs +
  DEFAULT_LADDER.removeAgentMs +
  DEFAULT_LADDER.closeRoomMs;

/** Time alone, with every effect unanswered. */
function letTimePass(session: Session, fromMs: number, boundMs: number): Session {
  let state = session;
  let nowMs = fromMs;
  for (let ticks = 0; ticks < 1000; ticks++) {
    const due = nextTickMs(state, nowMs);
    if (due === null || !Number.isFinite(due) || due > fromMs + boundMs) return state;
    nowMs = Math.max(nowMs + 1, due);
    state = decide(state, { type: 'tick' }, at(nowMs)).state;
  }
  throw new Error('a thousand ticks and no end of them');
}

describe('any events in any order', () => {
  it('never throw, never change what has ended, and keep the first cause', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        play(newSession(one, {}), steps, (before, after) => {
          if (isEnded(before)) {
            expect(publicState(after)).toBe(publicState(before));
            expect(after.phase).toMatchObject({ ending: (before.phase as { ending: unknown }).ending });
          }
          const [was, is] = [causeOf(before), causeOf(after)];
          if (was !== null) expect(is).toBe(was);
          if (after.phase.name === 'ended') expect(after.phase.ending.reason).toBeTruthy();
        });
      }),
      { numRuns: 2000 },
    );
  });

  it('decide the same after the state was stored as JSON', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        play(newSession(one, {}), steps, (_before, after) => {
          expect(JSON.parse(JSON.stringify(after))).toEqual(after);
        });
      }),
      { numRuns: 500 },
    );
  });

  it('leave no ladder that outlives the sum of its bounds', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        const asked = decide(session, release, at(nowMs)).state;
        expect(letTimePass(asked, nowMs, LADDER_MS).phase.name).toBe('ended');
      }),
      { numRuns: 1000 },
    );
  });

  it('leave no session that outlives its maximum duration and its ladder', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        if (session.phase.name === 'queued' && session.phase.grant === null) return;
        const late = one.limits.maxDurationMs + 60_000;
        const asleep = letTimePass(
          decide(session, { type: 'tick' }, at(nowMs)).state,
          nowMs,
          late + LADDER_MS,
        );
        expect(asleep.phase.name).toBe('ended');
      }),
      { numRuns: 300 },
    );
  });

  it('end with the tree gone, whatever was there before', () => {
    fc.assert(
      fc.property(specs, story, (one, steps) => {
        const { session, nowMs } = play(newSession(one, {}), steps, () => undefined);
        const state = decide(
          letTimePass(decide(session, release, at(nowMs)).state, nowMs, LADDER_MS),
          gone(),
          at(nowMs + LADDER_MS),
        ).state;
        expect(isEnded(state)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

/** The first cause; a worker that nothing kills adds its own reason and keeps the cause. */
function causeOf({ phase }: Session): string | null {
  return phase.name === 'closing' || phase.name === 'ended' ? phase.ending.cause : null;
}
