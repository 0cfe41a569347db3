/** A caller that returns to its room after the session: which caller gets a new session, when, and how often. */
import { describe, expect, it } from 'vitest';
import { allocationOf } from '../../src/core/admission/allocation.ts';
import { sessionId } from '../../src/core/ids.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Session } from '../../src/core/model/session.ts';
import { workerOf } from '../../src/core/model/session.ts';
import type { SessionRecord } from '../../src/core/model/session-record.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import { withVitals, withWorker } from '../../src/core/model/updates.ts';
import type { RoomWatch } from '../../src/core/rooms/kept-room.ts';
import type { Participant } from '../../src/core/rooms/presence.ts';
import type { Rejoin } from '../../src/core/rooms/rejoin.ts';
import { decideRejoin } from '../../src/core/rooms/rejoin.ts';
import { inThisBoot } from '../../src/core/rooms/watch-boot.ts';
import { rejoinWatch } from '../../src/core/teardown/rejoin-rule.ts';
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
  ROOM_SID,
  release,
  says,
  shutdown,
  spec,
  WORKER,
} from './support.ts';

const ann = participant('ann');
const MINUTE_MS = 60_000;

const removed = (outcome: 'done' | 'failed'): SessionEvent => ({
  type: 'room_step',
  step: 'remove_agent',
  outcome,
  detail: null,
});

describe('a next session that waited for its room', () => {
  const MAX_MS = 30 * MINUTE_MS;
  const waiting = () =>
    Play.queued(
      spec({
        unasked: true,
        profile: profile({ rejoin: 'auto' }),
        limits: { ...spec().limits, maxDurationMs: MAX_MS },
        rejoin: { of: sessionId('s0'), begunMs: [-9000, 0] },
      }),
    );
  const grant = (play: Play, nowMs: number) =>
    play.on(nowMs, { type: 'granted', startAtMs: nowMs, workerId: WORKER });

  it('starts for a caller that is there', () => {
    const play = grant(waiting().on(1000, look(1000, [agent, ann])), 9000);
    expect([play.phase, play.session.presence.returnedMs]).toEqual(['starting', undefined]);
  });

  it.each([
    ['was seen, and has left again', 1000],
    ['left again before the first poll', null],
  ])('starts no worker for a caller that %s, and its room is watched for the next return', (_, seenMs) => {
    const play = waiting();
    if (seenMs !== null) play.on(seenMs, look(seenMs, [agent, ann]));
    for (let atMs = 6000; atMs <= 31_000; atMs += 5000) play.on(atMs, look(atMs, [agent]));
    grant(play, 32_000);
    expect(play).toMatchObject({ phase: 'ended', reason: 'callers_left' });
    expect(play.did('spawn')).toEqual([]);
    expect(play.did('watch_room')).toMatchObject([
      { effect: { watch: { roomSid: ROOM_SID, rejoin: { endsAtMs: MAX_MS, begunMs: [-9000] } } } },
    ]);
  });

  it('ends soon where the caller leaves again just before or after the start', () => {
    const play = grant(waiting(), 1000).on(1000, { type: 'spawned', workerId: WORKER, process: PROCESS });
    for (let atMs = 5000; play.phase === 'starting' && atMs <= 60_000; atMs += 5000)
      play.on(atMs, look(atMs, [agent]));
    expect(play.ending).toMatchObject({ reason: 'callers_left', at: { bootMs: 25_000 } });
  });

  it('starts for a caller that came back between two polls', () => {
    const play = waiting()
      .on(6000, look(6000, [agent]))
      .on(7000, joined(7000, ann));
    expect(grant(play, 32_000).phase).toBe('starting');
  });

  it('starts where LiveKit does not answer, or has not answered yet', () => {
    expect(grant(waiting(), 32_000).phase).toBe('starting');
    const away = waiting()
      .on(6000, look(6000, [agent]))
      .on(7000, { type: 'livekit', reachable: false });
    expect(grant(away, 32_000).phase).toBe('starting');
  });

  it('starts for a dispatch, which nobody needs to wait for', () => {
    const play = Play.queued(spec({ unasked: true, profile: profile({ rejoin: 'auto' }) }));
    expect(grant(play.on(6000, look(6000, [])), 9000).phase).toBe('starting');
  });
});

describe('a watch for a returning caller begins with the teardown', () => {
  const brought = (more: Parameters<typeof spec>[0] = {}) =>
    Play.live(spec({ unasked: true, profile: profile({ rejoin: 'auto' }), ...more }));
  const watchOf = (play: Play): RoomWatch | null => {
    const effect = play.did('watch_room').at(0)?.effect;
    return effect?.do === 'watch_room' ? effect.watch : null;
  };
  const hangUp = (play: Play, who: Participant = ann) =>
    play
      .on(1000, look(1000, [agent, who]))
      .on(5000, left(5000, who, 'client_initiated'))
      .on(15_100, look(15_100, [agent]));

  it('after the last caller left', () => {
    const watch = watchOf(hangUp(brought()));
    expect(watch).toMatchObject({
      roomSid: ROOM_SID,
      session: 's1',
      rejoin: { endsAtMs: 120 * MINUTE_MS, begunMs: [], callerSinceMs: null },
    });
  });

  const over: [string, SessionEvent][] = [
    ['ended its job', says({ type: 'closed' })],
    ['raised', says({ type: 'failed', message: 'x', raised: true })],
    ['exited with 0', exited(0)],
  ];
  it.each(over)('after the last caller left and the agent %s within the grace', (_how, event) => {
    const left5 = brought()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, left(5000, ann, 'client_initiated'));
    expect(watchOf(left5.on(6000, event).on(6500, look(6400, [])))).toMatchObject({ session: 's1' });
  });

  it.each(over)('not while the caller is there and the agent %s', (_how, event) => {
    const play = brought()
      .on(1000, look(1000, [agent, ann]))
      .on(6000, event);
    expect(watchOf(play)).toBeNull();
  });

  it('after nobody joined', () => {
    const play = brought()
      .on(1000, look(1000, [agent]))
      .until(120_000);
    expect(watchOf(play.on(120_100, look(120_100, [agent])))).toMatchObject({ session: 's1' });
  });

  it.each<[string, Play]>([
    ['a profile of 0.1.0', hangUp(brought({ profile: profile() }))],
    ['rejoin: off', hangUp(brought({ profile: profile({ rejoin: 'off' }) }))],
    [
      'a room that is closed at the end',
      hangUp(brought({ profile: profile({ rejoin: 'auto', roomOnEnd: 'close' }) })),
    ],
    ['a dispatch by HTTP', hangUp(Play.live(spec({ profile: profile({ rejoin: 'auto' }) })))],
    [
      'a release',
      brought()
        .on(1000, look(1000, [agent, ann]))
        .on(2000, release),
    ],
    ['the maximum duration', brought().until(121 * MINUTE_MS)],
    ['a phone that the agent has dialled', hangUp(brought().on(500, says({ type: 'dialled' })))],
    ['an outbound call', hangUp(brought(), participant('sip', { kind: 'sip', outbound: true }))],
  ])('not for %s', (_name, play) => {
    expect(['closing', 'ended']).toContain(play.phase);
    expect(watchOf(play)).toBeNull();
  });

  it.each<[string, SessionEvent]>([
    ['while the agent writes its notes', release],
    ['after its end', release],
  ])('and ends with a release %s', (when, event) => {
    const play = hangUp(brought());
    if (when.startsWith('after')) play.on(16_000, gone()).until(40_000);
    play.on(45_000, event);
    expect(play.did('unwatch_room').map(({ effect }) => effect)).toMatchObject([{ session: 's1' }]);
    if (play.phase === 'closing') expect(rejoinWatch(play.session as never, at(46_000))).toBeNull();
  });

  it('and stays over a stop of the supervisor', () => {
    const play = hangUp(brought()).on(16_000, shutdown).on(16_100, gone()).until(40_000).on(45_000, shutdown);
    expect(play.phase).toBe('ended');
    expect(play.did('unwatch_room')).toEqual([]);
  });

  it.each<[string, Participant[], boolean]>([
    ['for a listener where nobody ever spoke', [], true],
    ['not for a listener after one that spoke', [ann], false],
  ])('%s', (_who, others, begins) => {
    const lea = participant('lea', { listens: true });
    const ignore = { identities: [], attributes: {}, listeners: true } as const;
    const play = brought({ profile: profile({ rejoin: 'auto', ignore }) })
      .on(1000, look(1000, [agent, lea, ...others]))
      .on(5000, look(5000, [agent]))
      .on(25_100, look(25_100, [agent]));
    const watch = watchOf(play);
    const again = look(30_000, [lea]);
    if (watch?.rejoin === undefined || again.type !== 'room_snapshot') throw new Error('no watch');
    const { action } = decideRejoin(watch, watch.rejoin, again.observation);
    expect(action).toBe(begins ? 'poll' : 'wait');
  });

  it('for a dispatch by HTTP with rejoin: always', () => {
    const play = hangUp(Play.live(spec({ profile: profile({ rejoin: 'always' }) })));
    expect(watchOf(play)).not.toBeNull();
  });
});

describe('a caller that returns', () => {
  const fresh: Rejoin = { endsAtMs: 60 * MINUTE_MS, begunMs: [], callerSinceMs: null };
  const watch: Pick<RoomWatch, 'roomSid' | 'agentIdentity' | 'ignore'> = {
    roomSid: ROOM_SID,
    agentIdentity: agent.identity,
    ignore: { identities: ['bot-*'], attributes: {} },
  };
  const see = (
    atMs: number,
    who: readonly Participant[],
    rejoin = fresh,
    roomSid: string | null = ROOM_SID,
  ) => {
    const event = look(atMs, who, { roomSid });
    if (event.type !== 'room_snapshot') throw new Error('no snapshot');
    return decideRejoin(watch, rejoin, event.observation);
  };

  it('gets it also after one list without the room, and none when the room is missing for 10 s', () => {
    const blind = see(10_000, [], fresh, null);
    expect(blind.action).toBe('wait');
    const again = see(12_000, [ann], blind.rejoin);
    expect(again).toMatchObject({ action: 'poll', rejoin: { callerSinceMs: 12_000 } });
    expect(again.rejoin.goneSinceMs).toBeUndefined();
    expect(see(19_900, [], blind.rejoin, null).action).toBe('wait');
    expect(see(20_000, [], blind.rejoin, null).action).toBe('forget');
  });

  it('gets a new session 1 s later, by another snapshot', () => {
    const first = see(10_000, [ann]);
    expect(first.action).toBe('poll');
    expect(see(10_900, [ann], first.rejoin).action).toBe('poll');
    expect(see(11_000, [ann], first.rejoin).action).toBe('begin');
  });

  it('waits again after a leave', () => {
    const gone = see(10_500, [], see(10_000, [ann]).rejoin);
    expect(gone).toMatchObject({ action: 'wait', rejoin: { callerSinceMs: null } });
    expect(see(11_500, [ann], gone.rejoin).action).toBe('poll');
  });

  it.each<[string, readonly Participant[]]>([
    ['an agent', [agent]],
    ['an ignored bot', [participant('bot-1')]],
    ['a recorder', [participant('rec', { recorder: true })]],
  ])('is not %s', (_name, who) => {
    expect(see(10_000, who, { ...fresh, callerSinceMs: 1000 }).action).toBe('wait');
  });

  it('gets at most 5 sessions in 10 min', () => {
    const there = { ...fresh, callerSinceMs: 10_000 };
    const begunMs = [1, 2, 3, 4, 5].map((one) => one * MINUTE_MS);
    expect(see(10 * MINUTE_MS, [ann], { ...there, begunMs: begunMs.slice(1) }).action).toBe('begin');
    expect(see(10 * MINUTE_MS, [ann], { ...there, begunMs }).action).toBe('wait');
    expect(see(11 * MINUTE_MS, [ann], { ...there, begunMs }).action).toBe('begin');
  });

  it.each<[string, ReturnType<typeof see>]>([
    ['another room has its name', see(10_000, [ann], fresh, 'RM_2')],
    ['the maximum duration is over', see(60 * MINUTE_MS, [ann])],
  ])('gets none when %s', (_name, { action }) => {
    expect(action).toBe('forget');
  });
});

describe('the claim of a room passes on', () => {
  const callbacks = () =>
    Play.live(spec({ unasked: true, profile: profile({ protocol: 'livekit', rejoin: 'auto' }) }))
      .on(1000, look(1000, [agent, ann]))
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(15_100, look(15_100, [agent]));
  const claimOf = ({ session }: Play) => allocationOf(session)?.claim ?? null;
  const asked = (play: Play, atMs: number) => play.on(atMs, { type: 'claim_wanted' });

  it('when the agent has left and its callbacks still run', () => {
    const play = callbacks().on(16_000, look(16_000, []));
    expect(claimOf(play)).not.toBeNull();
    play.on(16_100, removed('done'));
    expect(claimOf(play)).toBeNull();
    expect(allocationOf(play.session)?.quotas).toEqual(['host']);
    expect(play.did('signal')).toEqual([]);
  });

  it('never from a replacement that has its room and has not joined it yet', () => {
    const play = callbacks().on(16_000, look(16_000, []));
    const worker = workerOf(play.session);
    if (worker === null) throw new Error('there is no worker');
    play.session = withWorker(play.session, worker.id, (one) => ({ ...one, attempt: 2 }));
    play.on(16_100, removed('done')).on(17_000, look(17_000, []));
    expect(play.phase).toBe('closing');
    expect(claimOf(play)).not.toBeNull();
    expect(asked(play, 18_000).until(40_000).did('signal').length).toBeGreaterThan(0);
  });

  it('and never returns, also when the worker is killed or proves unkillable', () => {
    const play = callbacks().on(16_000, look(16_000, [])).on(16_100, removed('done'));
    for (let atMs = 17_000; atMs < 120_000; atMs += 1000) {
      play.until(atMs);
      expect(claimOf(play)).not.toBe(play.session.spec.claim);
    }
    expect(play.reason).toBe('unkillable');
  });

  it('and an unkillable worker keeps a claim of its own, so that the next supervisor knows its session', () => {
    const play = callbacks().on(16_000, look(16_000, [])).on(16_100, removed('done')).until(120_000);
    expect(play.phase).toBe('ended');
    expect(claimOf(play)).toContain('unkillable:s1');
    expect(allocationOf(play.session)?.quotas).toEqual(['host']);
    expect(allocationOf(play.on(121_000, gone()).session)).toBeNull();
  });

  it('to a session that waits: curfew removes the agent, and its callbacks keep their time', () => {
    const play = asked(callbacks(), 20_000);
    expect(play.did('remove_agent')).toHaveLength(1);
    play.on(20_100, removed('done')).on(20_200, look(20_200, []));
    expect(claimOf(play)).toBeNull();
    expect(play.until(60_000).did('signal')).toEqual([]);
  });

  it('later when LiveKit does not remove the agent: the wrap-up is cut', () => {
    const play = asked(callbacks(), 20_000).on(20_100, removed('failed'));
    expect(claimOf(play)).not.toBeNull();
    expect(play.until(40_000).did('signal').length).toBeGreaterThan(0);
  });

  it('survives the record', () => {
    const { session } = callbacks().on(16_000, look(16_000, [])).on(16_100, removed('done'));
    const read = fromRecord(JSON.parse(JSON.stringify(toRecord(session))) as SessionRecord);
    expect(allocationOf(read)?.claim).toBeNull();
  });
});

describe('the callbacks of an agent that has left its room', () => {
  const released = (protocol: 'livekit' | 'curfew' = 'livekit') =>
    Play.live(spec({ profile: profile({ protocol }) }))
      .on(1000, look(1000, [agent, ann]))
      .on(5000, release);

  it('have the time of a wrap-up after a release, too', () => {
    const play = released().on(6000, look(6000, [ann]));
    expect(play.until(64_900).did('signal')).toEqual([]);
    expect(play.until(65_100).did('signal').length).toBeGreaterThan(0);
  });

  it('have it also where the agent left only after SIGTERM to its main process, because the job still ran', () => {
    const play = released().on(6000, look(6000, [agent, ann]));
    play.until(15_500);
    expect(play.did('signal')).toMatchObject([{ effect: { signal: 'SIGTERM', to: 'main' } }]);
    play.on(16_000, removed('done')).on(16_500, look(16_400, [ann]));
    expect(play.session.phase).toMatchObject({ ladder: { claimPassed: true, process: { step: 'term' } } });
    expect(play.until(64_900).did('signal')).toHaveLength(1);
    expect(play.until(70_000).did('signal').length).toBeGreaterThan(1);
  });

  it('are over with the report of the end, and a wrapper that traps SIGTERM has the bound of TERM from then on', () => {
    const play = released().on(6000, look(6000, [agent, ann]));
    play
      .until(15_500)
      .on(16_000, removed('done'))
      .on(16_500, look(16_400, [ann]));
    play.on(20_000, says({ type: 'closed' }));
    expect(play.until(30_000).did('signal').length).toBeGreaterThan(1);
  });

  it('go on after an exception, because the entrypoint raised before the end of its job', () => {
    const raised = { type: 'failed', message: 'x', raised: true } as const;
    const play = released()
      .on(6000, says({ ...raised, endsLater: true }))
      .on(7000, look(7000, [ann]));
    expect(play.until(40_000).did('signal')).toEqual([]);
    expect(play.on(40_500, says(raised)).did('signal')).toMatchObject([{ effect: { signal: 'SIGTERM' } }]);
    expect(play.ladder[0]).toBe('aclose:done');
  });

  it('end within the ordinary bound after a second release', () => {
    const play = released()
      .on(6000, look(6000, [ann]))
      .on(20_000, release)
      .until(30_100);
    expect(play.did('signal').length).toBeGreaterThan(0);
  });

  it.each<[string, Play]>([
    ['while the agent is still there', released().on(6000, look(6000, [agent, ann]))],
    ['of another protocol', released('curfew').on(6000, look(6000, [ann]))],
  ])('have the bound of aclose %s', (_name, play) => {
    expect(play.until(15_100).phase).toBe('closing');
    expect(play.session.phase).toMatchObject({ ladder: { wrapUp: false } });
  });
});

describe('a caller that is back while the agent has closed its AgentSession', () => {
  const phone = (sipCallStatus: string) => participant('sip', { kind: 'sip', sipCallStatus });
  const back = participant('ann', { sid: 'PA_ann2' });
  const bob = participant('bob');
  const closed = (stays: Participant | null = null, more: Parameters<typeof spec>[0] = {}) => {
    const play = Play.live(spec({ unasked: true, profile: profile({ rejoin: 'auto' }), ...more }))
      .on(1000, look(1000, [agent, ann, ...(stays === null ? [] : [stays])]))
      .on(5000, left(5000, ann, 'client_initiated'));
    const agentSessions = { closedMs: 5100 } as NonNullable<Session['vitals']['agentSessions']>;
    play.session = withVitals(play.session, { agentSessions });
    return play;
  };

  it('ends the session after 1 s, with time for the notes and a watch for the caller', () => {
    const play = closed()
      .on(10_000, joined(10_000, back))
      .on(10_100, look(10_050, [agent, back]));
    expect(play.phase).toBe('live');
    play.on(11_100, look(11_050, [agent, back])).on(11_200, { type: 'budget', granted: true });
    expect(play.ending).toMatchObject({ reason: 'completed', cause: 'agent_session_closed' });
    expect(play.did('watch_room')).toHaveLength(1);
    expect(play.session.phase).toMatchObject({ ladder: { wrapUp: true } });
  });

  /** The report of the closing comes after the caller's return. */
  const closesLate = (
    closeReason: string,
    closedMs: number,
    meanwhile: readonly [number, SessionEvent][] = [],
  ) => {
    const play = closed();
    play.session = withVitals(play.session, { agentSessions: undefined });
    play.on(6000, joined(6000, back)).on(6100, look(6050, [agent, back]));
    for (const [atMs, event] of meanwhile) play.on(atMs, event);
    const agentSessions = { open: 0, closedMs, closeReason } as NonNullable<
      Session['vitals']['agentSessions']
    >;
    play.session = withVitals(play.session, { agentSessions });
    const dueMs = closedMs + 1100;
    return play.on(dueMs, look(dueMs, [agent, back])).on(dueMs + 100, { type: 'budget', granted: true });
  };

  it('ends the session also when the AgentSession needed longer to close than the page to load', () => {
    for (const closedMs of [8000, 90_000])
      expect(closesLate('participant_disconnected', closedMs).ending).toMatchObject({
        reason: 'completed',
        cause: 'agent_session_closed',
      });
  });

  it.each<[string, SessionEvent[]]>([
    ['a restart of the supervisor', [{ type: 'gap', gapMs: 0 }]],
    [
      'an outage of LiveKit',
      [
        { type: 'livekit', reachable: false },
        { type: 'livekit', reachable: true },
      ],
    ],
  ])('ends the session soon after %s, when the agent had time to report another AgentSession', (_what, events) => {
    const play = closed()
      .on(6000, joined(6000, back))
      .on(6100, look(6050, [agent, back]));
    for (const event of events) play.on(6500, event);
    expect(play.on(12_000, look(12_000, [agent, back])).phase).toBe('live');
    play.on(17_000, look(17_000, [agent, back]));
    expect(play.ending).toMatchObject({ reason: 'completed', cause: 'agent_session_closed' });
  });

  it('ends the session also when it is another phone, which rang and now picks up', () => {
    const play = closed()
      .on(7000, joined(7000, phone('ringing')))
      .on(7100, look(7050, [agent, phone('ringing')]))
      .on(12_000, look(12_000, [agent, phone('ringing')]));
    expect(play.phase).toBe('live');
    play
      .on(13_000, look(13_000, [agent, phone('active')]))
      .on(14_100, look(14_100, [agent, phone('active')]));
    expect(play.ending).toMatchObject({ reason: 'completed', cause: 'agent_session_closed' });
  });

  it('is no phone that picks up as the first caller', () => {
    const play = Play.live(spec({ unasked: true, profile: profile({ rejoin: 'auto' }) }))
      .on(1000, look(1000, [agent, phone('ringing')]))
      .on(3000, look(3000, [agent, phone('active')]));
    expect(play.session.presence.returnedMs).toBeUndefined();
  });

  it('ends the session however many others end so, because no absence is inferred', () => {
    const play = closesLate('participant_disconnected', 8000);
    expect(play.did('ask_budget')).toEqual([]);
  });

  it('finds the same session beside an AgentSession which the agent closed by its own order', () => {
    expect(closesLate('user_initiated', 8000).phase).toBe('live');
  });

  it('finds the same session beside an AgentSession which closed because of a later departure', () => {
    const meanwhile: [number, SessionEvent][] = [
      [50_000, joined(50_000, bob)],
      [80_000, left(80_000, bob, 'client_initiated')],
    ];
    expect(closesLate('participant_disconnected', 90_000, meanwhile).phase).toBe('live');
  });

  it.each<[string, Play, Participant]>([
    ['beside a caller that stayed', closed(bob), back],
    ['after a dispatch by HTTP', closed(null, { unasked: undefined } as never), back],
  ])('%s ends nothing', (name, play, one) => {
    const who = name.startsWith('beside') ? [agent, bob, one] : [agent, one];
    play.on(10_000, look(10_000, who)).on(12_000, look(12_000, who));
    expect(play.phase).toBe('live');
  });
});

describe('the times of a watch after a reboot', () => {
  const HOUR_MS = 60 * MINUTE_MS;
  const upFor30Days = { bootMs: 720 * HOUR_MS, wallMs: 1_700_000_000_000 };
  const watch: RoomWatch = {
    room: { project: 'default', name: 'r' },
    roomSid: ROOM_SID,
    agentIdentity: agent.identity,
    made: false,
    since: upFor30Days,
    bootId: 'before',
    aloneSinceMs: null,
    rejoin: {
      endsAtMs: upFor30Days.bootMs + HOUR_MS,
      begunMs: [upFor30Days.bootMs - 5 * MINUTE_MS],
      callerSinceMs: upFor30Days.bootMs,
    },
  };
  /** The host is up again for 1 min, 10 min after the watch began. */
  const now = { bootMs: MINUTE_MS, wallMs: upFor30Days.wallMs + 10 * MINUTE_MS };

  it.each([['before'], [undefined]])('are those of the present boot (boot id %s)', (bootId) => {
    const { bootId: _, ...rest } = watch;
    const moved = inThisBoot({ ...rest, ...(bootId !== undefined && { bootId }) }, { now, bootId: 'now' });
    expect(moved.rejoin).toEqual({
      endsAtMs: MINUTE_MS + 50 * MINUTE_MS,
      begunMs: [MINUTE_MS - 15 * MINUTE_MS],
      callerSinceMs: null,
    });
    expect(moved).toMatchObject({ bootId: 'now', since: { bootMs: -9 * MINUTE_MS } });
  });

  it('stay as they are in the same boot', () => {
    expect(inThisBoot(watch, { now: upFor30Days, bootId: 'before' })).toBe(watch);
  });
});
