/** The next session of a caller that returned to its room. */
import { describe, expect, it } from 'vitest';
import { claimKey, sessionId } from '../../src/core/ids.ts';
import { newSession } from '../../src/core/model/updates.ts';
import type { RoomWatch } from '../../src/core/rooms/kept-room.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import type { Registry } from '../../src/ports/registry.ts';
import type { Rooms } from '../../src/ports/rooms.ts';
import { beginAgain } from '../../src/runtime/dispatch/rejoin-source.ts';
import { rejoinSpec } from '../../src/runtime/dispatch/session-spec.ts';
import { RoomRouter } from '../../src/runtime/rooms/room-router.ts';
import type { SupervisorDeps } from '../../src/runtime/supervisor-deps.ts';
import { makeAgentJob } from '../../src/runtime/workers/agent-job-message.ts';
import { at, look, Play, participant, profile, spec } from '../core/support.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

const job = { id: 'AJ_1', agentName: 'voice', metadata: '{"lang":"de"}', attributes: {} };
const deps = {
  profileOf: () => profile({ protocol: 'livekit' }),
  newId: () => 'next',
  instance: { id: 'i', bootId: 'b' },
  rooms: null,
} as unknown as SupervisorDeps;

describe('the job of the next agent has the metadata', () => {
  const metadataOf = async (play: Play) => {
    const next = rejoinSpec(play.session, { deps, now: at(9000), maxDurationMs: 1000, begunMs: [] });
    const session = newSession(next, play.session.config.metadata);
    return (await makeAgentJob(session, null)).metadata;
  };
  const brought = () => Play.live(spec({ unasked: true, job }));

  it('of LiveKit, as long as nobody changed it', async () => {
    expect(await metadataOf(brought())).toBe('{"lang":"de"}');
  });

  it.each([
    ['a change by the API', { lang: 'fr' }, '{"lang":"fr"}'],
    ['a change to nothing', {}, ''],
  ])('of %s', async (_, metadata, expected) => {
    expect(await metadataOf(brought().on(1000, { type: 'metadata', metadata } as never))).toBe(expected);
  });
});

const room = { project: 'default', name: 'r' };
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A room that is watched after sessions of two agents, and what is logged and recorded of it. */
function watched() {
  const logged: [fields: object, message: string][] = [];
  const rows = new Map<string, RoomWatch>();
  const note = (fields: object, message: string) => void logged.push([fields, message]);
  const keyOf = (one: Pick<RoomWatch, 'claim'>) => one.claim ?? '';
  const clock = { now: () => at(100_000), at: () => () => undefined };
  const states = new Map([['s-next', sessionOf({ id: 's-next', room: 'r' })]]);
  const router = new RoomRouter(
    {
      rooms: {
        follow: () => undefined,
        unfollow: () => undefined,
        poll: () => undefined,
      } as unknown as Rooms,
      registry: {
        saveWatch: async (one) => void rows.set(keyOf(one), one),
        deleteWatch: async (one) => void rows.delete(keyOf(one)),
      } as Partial<Registry> as Registry,
      log: { debug: () => undefined, info: note, warn: note, error: note },
      clock,
      instance: { bootId: 'b' },
    },
    { post: () => undefined, postAll: () => undefined, state: (id) => states.get(id) ?? null },
  );
  const begun: string[] = [];
  for (const agent of ['voice', 'notes'])
    router.watches.watch({
      room,
      roomSid: 'RM_1',
      agentIdentity: `agent-${agent}`,
      session: sessionId(`s-${agent}`),
      claim: claimKey(room, agent),
      made: false,
      since: at(0),
      aloneSinceMs: null,
      rejoin: { endsAtMs: 1e9, begunMs: [], callerSinceMs: null },
    });
  router.watches.onReturned(async ({ session }) => {
    begun.push(session ?? '');
    return null;
  });
  const see = async (atMs: number) => {
    const event = look(atMs, [participant('ann')]);
    if (event.type === 'room_snapshot') router.snapshot(room, event.observation);
    await settled();
  };
  return { router, states, logged, rows, begun, see };
}

describe('two agents whose caller returns', () => {
  it('both get a next session', async () => {
    const { see, begun, rows } = watched();
    await see(100_000);
    await see(102_000);
    expect(begun).toEqual(['s-voice', 's-notes']);
    expect(rows.size).toBe(0);
  });

  it('get one, also where the next session has ended before it is seen, such as one that its agent declined', async () => {
    const { see, begun } = watched();
    for (let atMs = 100_000; atMs < 110_000; atMs += 1000) await see(atMs);
    expect(begun).toEqual(['s-voice', 's-notes']);
  });

  it('get it each for itself: an open session of one agent ends the watch for that agent alone', async () => {
    const { see, begun, router, states } = watched();
    const next = states.get('s-next');
    if (next === undefined) throw new Error('no session');
    const open = { ...next, spec: { ...next.spec, claim: claimKey(room, 'voice') } };
    states.set('s-next', open);
    router.follow(open);
    await see(100_000);
    await see(102_000);
    expect(begun).toEqual(['s-notes']);
  });

  it('get none after a release of the session, and the other agent still gets its own', async () => {
    const { see, begun, router, rows } = watched();
    router.watches.unwatch(room, sessionId('s-voice'));
    await settled();
    expect([...rows.keys()]).toEqual([claimKey(room, 'notes')]);
    await see(100_000);
    await see(102_000);
    expect(begun).toEqual(['s-notes']);
  });
});

describe('a next session that cannot begin', () => {
  it('is one line in the log for each reason, and a failure waits before the next try', async () => {
    const { see, router, logged } = watched();
    router.watches.unwatch(room, sessionId('s-notes'));
    const answers = ['at_capacity', 'at_capacity', 'registry_unavailable'];
    let tries = 0;
    router.watches.onReturned(async () => {
      const why = answers[Math.min(tries, 2)] ?? '';
      tries += 1;
      return { why, isBrief: why === 'at_capacity' };
    });
    for (let atMs = 100_000; atMs < 129_000; atMs += 1000) await see(atMs);
    expect(tries).toBe(3);
    expect(logged.map(([fields]) => fields)).toEqual([
      { session: 's-voice', why: 'at_capacity' },
      { session: 's-voice', why: 'registry_unavailable' },
    ]);
    await see(131_000);
    expect(tries).toBe(4);
  });

  it.each([
    ['at_capacity', 1],
    ['draining', 1],
    ['registry_unavailable', 0],
    ['room_taken', 0],
  ] as const)('for %s hangs up on %i phones', async (code, phones) => {
    let refused = 0;
    const before = Play.live(spec({ unasked: true })).session;
    const [watch] = watched().rows.values();
    if (watch === undefined) throw new Error('no watch');
    const answer = await beginAgain(watch, {
      deps: {
        clock: { now: () => at(1000) },
        profileOf: () => profile({ rejoin: 'auto' }),
      } as never,
      sessions: { state: () => before },
      watches: { unwatch: () => undefined },
      dispatcher: { rejoin: () => Promise.reject(new CurfewError(code, 'for a test')) },
      onRefused: () => {
        refused += 1;
      },
    });
    expect(answer).toMatchObject({ why: code });
    expect(refused).toBe(phones);
  });
});
