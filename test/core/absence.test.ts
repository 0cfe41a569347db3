/** Which absence ends a session, when, and which snapshot decides it. */
import { describe, expect, it } from 'vitest';
import { effectiveLimits } from '../../src/core/model/limit-overrides.ts';
import type { Participant } from '../../src/core/rooms/presence.ts';
import { sideOf } from '../../src/core/rooms/presence.ts';
import type { SessionLimits } from '../../src/lib/limits/session-limits.ts';
import { DEFAULT_SESSION_LIMITS } from '../../src/lib/limits/session-limits.ts';
import {
  AGENT,
  agent,
  at,
  joined,
  left,
  look,
  Play,
  participant,
  profile,
  roomEvent,
  says,
  spec,
  WORKER,
} from './support.ts';

const ann = participant('ann');
const bob = participant('bob');

function withoutPhones({ phonesLeftMs: _phones, ...limits }: SessionLimits): SessionLimits {
  return limits;
}

const phone = (sipCallStatus: string | null) => participant('sip', { kind: 'sip', sipCallStatus });

describe('a participant is sorted into its side:', () => {
  it.each<[string, Partial<Participant>, string]>([
    ['a person', {}, 'caller'],
    ['a person without audio', { audioTracks: 0 }, 'caller'],
    ['a hidden one', { hidden: true }, 'other'],
    ['a recorder', { recorder: true }, 'other'],
    ['an agent', { kind: 'agent' }, 'agent'],
    ['a person with the agent grant', { agentGrant: true }, 'agent'],
    ['egress', { kind: 'egress' }, 'other'],
    ['ingress', { kind: 'ingress' }, 'other'],
    ['a connector', { kind: 'connector' }, 'caller'],
    ['a kind of a later LiveKit', { kind: 'unknown' }, 'other'],
    ['one who is joining', { state: 'joining' }, 'other'],
    ['one who is gone', { state: 'disconnected' }, 'other'],
    ['a phone in a call', { kind: 'sip', sipCallStatus: 'active' }, 'caller'],
    ['a phone without a status', { kind: 'sip' }, 'caller'],
    ['a ringing phone', { kind: 'sip', sipCallStatus: 'ringing' }, 'ringing'],
    ['a phone that is dialled', { kind: 'sip', sipCallStatus: 'dialing' }, 'ringing'],
    ['a phone that hung up', { kind: 'sip', sipCallStatus: 'hangup' }, 'other'],
    ['our own agent', { identity: AGENT, kind: 'agent' }, 'own_agent'],
  ])('%s', (_name, more, side) => {
    expect(sideOf(participant('x', more), AGENT)).toBe(side);
  });
});

describe('after its callers left,', () => {
  const withCaller = () => Play.live().on(1000, look(1000, [agent, ann]));

  it('a session ends 10 s after its last caller hung up, by a snapshot asked for later', () => {
    const play = withCaller()
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(14_900, look(14_900, [agent]));
    expect(play.phase).toBe('live');
    expect(play.until(15_100).did('poll_room').at(-1)).toMatchObject({ atMs: 15_000 });
    play.on(15_100, look(15_050, [agent]));
    expect(play.reason).toBe('callers_left');
    expect(play.ending).toMatchObject({ cause: 'participant_left', detail: expect.stringContaining('ann') });
  });

  it.each([
    'signal_close',
    'connection_timeout',
    'media_failure',
    'migration',
    'unknown',
  ] as const)('a lost connection (%s) has 20 s', (reason) => {
    const play = withCaller()
      .on(5000, left(5000, ann, reason))
      .on(24_900, look(24_900, [agent]));
    expect(play.phase).toBe('live');
    expect(play.on(25_100, look(25_050, [agent])).reason).toBe('callers_left');
  });

  it('a caller that only a snapshot misses counts as a lost connection', () => {
    const play = withCaller()
      .on(5000, look(5000, [agent]))
      .on(24_000, look(24_000, [agent]));
    expect(play.phase).toBe('live');
    expect(play.on(25_100, look(25_100, [agent])).ending).toMatchObject({
      reason: 'callers_left',
      cause: 'presence',
    });
  });

  it('a session never ends without a snapshot', () => {
    expect(
      withCaller()
        .on(5000, left(5000, ann, 'client_initiated'))
        .until(7_000_000).phase,
    ).toBe('live');
  });

  it('a caller who returns keeps the session, also if the new sid was reported first', () => {
    const again = participant('ann', { sid: 'PA_2' });
    const play = withCaller()
      .on(5000, joined(5000, again))
      .on(5100, left(5100, ann, 'duplicate_identity'))
      .on(30_000, look(30_000, [agent, again]));
    expect(play.phase).toBe('live');
    expect(play.session.presence.goneSinceMs).toBeNull();
  });

  it('an older snapshot does not undo a newer webhook', () => {
    const play = withCaller()
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(5050, joined(5050, bob))
      .on(5100, look(5020, [agent]));
    expect(play.session.presence.participants.map((one) => one.identity).sort()).toEqual([AGENT, 'bob']);
  });

  const call = phone('active');
  const hangUps = (...who: readonly Participant[]) =>
    who.reduce(
      (play, one, index) => play.on(5000 + index * 1000, left(5000 + index * 1000, one, 'client_initiated')),
      Play.live().on(1000, look(1000, [agent, ...who])),
    );

  it.each<[string, readonly Participant[], number]>([
    ['a phone', [call], 7000],
    ['a browser', [ann], 15_000],
    ['a phone and then a browser', [call, ann], 16_000],
    ['a browser and then a phone', [ann, call], 15_000],
  ])('%s that hung up can return within the grace of its kind', (_name, who, dueMs) => {
    expect(hangUps(...who).on(dueMs - 100, look(dueMs - 100, [agent])).phase).toBe('live');
    expect(hangUps(...who).on(dueMs + 100, look(dueMs + 100, [agent])).reason).toBe('callers_left');
  });

  it('a page that is loaded again within 10 s ends nothing', () => {
    const back = participant('ann', { sid: 'PA_ann2' });
    const play = hangUps(ann)
      .on(10_000, joined(10_000, back))
      .on(10_100, look(10_100, [agent, back]));
    expect(play.until(60_000).on(60_000, look(60_000, [agent, back])).phase).toBe('live');
  });

  it.each<[string, SessionLimits]>([
    ['of 0.1.0', { ...withoutPhones(DEFAULT_SESSION_LIMITS), callersLeftMs: 2000 }],
    ['of a dispatch', effectiveLimits(DEFAULT_SESSION_LIMITS, { callersLeftMs: 2000 })],
  ])('one grace %s is for phones and browsers', (_name, limits) => {
    for (const one of [call, ann]) {
      const play = Play.live(spec({ limits }))
        .on(1000, look(1000, [agent, one]))
        .on(5000, left(5000, one, 'client_initiated'));
      expect(play.on(7100, look(7100, [agent])).reason).toBe('callers_left');
    }
  });

  it('a session goes on while one of two callers stays', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann, bob]))
      .on(2000, left(2000, ann, 'client_initiated'))
      .on(60_000, look(60_000, [agent, bob]));
    expect(play.phase).toBe('live');
  });

  it('a lost connection within its grace outweighs the hang-up of another caller', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann, bob]))
      .on(5000, left(5000, ann, 'signal_close'))
      .on(6000, left(6000, bob, 'client_initiated'));
    expect(play.on(9000, look(9000, [agent])).phase).toBe('live');
    expect(play.on(26_100, look(26_100, [agent])).reason).toBe('callers_left');
  });

  it('repeated and late webhooks change nothing', () => {
    const play = withCaller()
      .on(2000, left(1500, participant('ann', { sid: 'PA_old' }), 'client_initiated'))
      .on(2000, left(1500, participant('ann', { sid: 'PA_old' }), 'client_initiated'));
    expect(play.on(9000, look(9000, [agent, ann])).phase).toBe('live');
  });
});

describe('before any caller joined,', () => {
  it('a session ends 120 s after its start', () => {
    const play = Play.live().on(119_000, look(119_000, [agent]));
    expect(play.phase).toBe('live');
    expect(play.on(120_100, look(120_050, [agent])).reason).toBe('no_caller_joined');
  });

  it('a ringing phone holds the session for 80 s more, then it ends as not_answered', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, phone('ringing')]))
      .on(199_000, look(199_000, [agent, phone('ringing')]));
    expect(play.phase).toBe('live');
    expect(play.on(200_100, look(200_100, [agent, phone('ringing')])).reason).toBe('not_answered');
  });

  it('a session ends as not_answered when the phone stops ringing', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, phone('ringing')]))
      .on(5000, left(5000, phone('ringing'), 'user_rejected'));
    expect(play.on(7100, look(7100, [agent])).ending).toMatchObject({
      reason: 'not_answered',
      cause: 'participant_left',
    });
  });

  it('a phone that picks up counts as a caller', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, phone('ringing')]))
      .on(5000, look(5000, [agent, phone('active')]));
    expect(play.session.presence.callersSeen).toBe(true);
    expect(play.on(250_000, look(250_000, [agent, phone('active')])).phase).toBe('live');
  });

  it('hidden, recording and agent participants count as no caller', () => {
    const others = [
      participant('h', { hidden: true }),
      participant('r', { recorder: true }),
      participant('a', { kind: 'agent' }),
    ];
    expect(Play.live().on(120_100, look(120_100, [agent, ...others])).reason).toBe('no_caller_joined');
  });

  it('a session without LiveKit goes on without callers', () => {
    expect(Play.live({ livekit: false }).until(7_000_000).phase).toBe('live');
  });
});

describe('a call without sound', () => {
  const silent = participant('ann', { audioTracks: 0 });

  it('silence counts from the end of a slow start, because the agent cannot answer before', () => {
    const play = Play.starting({ profile: profile({ protocol: 'livekit' }) })
      .on(1000, look(1000, [silent]))
      .on(20_000, { type: 'channel', workerId: WORKER, open: true })
      .on(20_000, says({ type: 'ready' }))
      .on(21_000, look(21_000, [agent, silent]));
    expect(play.on(919_900, look(919_900, [agent, silent])).phase).toBe('live');
    expect(play.on(920_100, look(920_100, [agent, silent])).reason).toBe('no_active_stream');
  });

  it('silence ends no start, however short its limit is', () => {
    const limits = { ...DEFAULT_SESSION_LIMITS, startTimeoutMs: 60_000, noActiveStreamMs: 1000 };
    const play = Play.starting({ profile: profile({ protocol: 'livekit' }), limits });
    for (let atMs = 1000; atMs < 60_000; atMs += 1000) play.on(atMs, look(atMs, [silent]));
    expect(play.phase).toBe('starting');
    expect(play.on(60_000, look(60_000, [silent])).reason).toBe('start_timeout');
  });

  it('ends after 15 min without a published audio track of a caller', () => {
    const play = Play.live().on(1000, look(1000, [agent, silent]));
    expect(play.on(900_000, look(900_000, [agent, silent])).phase).toBe('live');
    expect(play.on(901_100, look(901_100, [agent, silent])).reason).toBe('no_active_stream');
  });

  it('goes on when a caller publishes a track', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, silent]))
      .on(800_000, look(800_000, [agent, ann]));
    expect(play.on(902_000, look(902_000, [agent, ann])).phase).toBe('live');
  });
});

describe('while the agent is not in the room,', () => {
  it('a session ends after 15 s and two polls, if the agent had been there', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(10_000, look(10_000, [ann]));
    expect(play.on(24_000, look(24_000, [ann])).phase).toBe('live');
    expect(play.on(25_100, look(25_100, [ann])).reason).toBe('agent_absent');
  });

  it('one poll ends nothing, however late it is', () => {
    expect(
      Play.live()
        .on(1000, look(1000, [agent, ann]))
        .on(100_000, look(100_000, [ann])).phase,
    ).toBe('live');
  });

  it('an agent that never joined has the start timeout', () => {
    const play = Play.live()
      .on(1000, look(1000, [ann]))
      .on(20_000, look(20_000, [ann]));
    expect(play.phase).toBe('live');
    expect(play.on(30_100, look(30_100, [ann])).reason).toBe('agent_absent');
  });

  it('any agent counts for a worker that joins under its own identity', () => {
    const own = participant('my-bot', { kind: 'agent' });
    const play = Play.live()
      .on(1000, look(1000, [own, ann]))
      .on(40_000, look(40_000, [own, ann]))
      .on(80_000, look(80_000, [own, ann]));
    expect(play.phase).toBe('live');
  });

  it("the late departure of the last session's agent ends nothing", () => {
    const before = { ...agent, sid: 'PA_before', joinedAtWallMs: at(-60_000).wallMs };
    const play = Play.live()
      .on(1000, look(1000, [ann]))
      .on(5000, left(5000, before, 'client_initiated'));
    expect(play.on(9000, look(9000, [ann])).phase).toBe('live');
    expect(play.on(40_000, look(40_000, [ann])).ending).toMatchObject({ reason: 'agent_absent' });
  });

  it('a session is completed when its agent left and stays away', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, left(5000, agent, 'client_initiated'))
      .on(6000, look(6000, [ann]));
    expect(play.phase).toBe('live');
    expect(play.on(7100, look(7100, [ann])).ending).toMatchObject({
      reason: 'completed',
      cause: 'participant_left',
    });
  });

  it('a session goes on when its agent comes back', () => {
    const back = participant(AGENT, { kind: 'agent', sid: 'PA_new' });
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, left(5000, agent, 'client_initiated'))
      .on(6000, look(6000, [back, ann]));
    expect(play.on(9000, look(9000, [back, ann])).phase).toBe('live');
  });
});

describe('a room_finished webhook', () => {
  it('ends the session when a snapshot confirms it', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, roomEvent({ kind: 'finished', roomSid: 'RM_1', at: at(5000) }));
    expect(play.on(5100, look(5050, [], { roomSid: null })).reason).toBe('room_finished');
  });

  it('of an older room of the same name ends nothing', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann], { roomSid: 'RM_2' }))
      .on(5000, roomEvent({ kind: 'finished', roomSid: 'RM_1', at: at(5000) }));
    expect(play.on(5100, look(5050, [agent, ann], { roomSid: 'RM_2' })).phase).toBe('live');
  });

  it('that comes before the first snapshot ends nothing', () => {
    const play = Play.live().on(500, roomEvent({ kind: 'finished', roomSid: 'RM_0', at: at(500) }));
    expect(play.on(600, look(600, [agent, ann])).phase).toBe('live');
  });
});

describe('while LiveKit is unreachable', () => {
  const away = () =>
    Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, { type: 'livekit', reachable: false });

  it('no session ends, and no poll is asked for', () => {
    const play = away().until(1_000_000);
    expect(play.phase).toBe('live');
    expect(play.did('poll_room').filter((one) => one.atMs > 5000)).toEqual([]);
  });

  it('the grace of absent callers starts again at its return', () => {
    const play = away()
      .on(100_000, { type: 'livekit', reachable: true })
      .on(100_000, look(100_000, [], { roomSid: null }));
    expect(play.on(119_900, look(119_900, [], { roomSid: null })).phase).toBe('live');
    expect(play.on(120_100, look(120_100, [], { roomSid: null })).reason).toBe('callers_left');
  });

  it('the grace starts again also for callers who were absent before', () => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(2000, left(2000, ann, 'client_initiated'))
      .on(3000, { type: 'livekit', reachable: false });
    play.on(60_000, { type: 'livekit', reachable: true });
    expect(play.on(65_000, look(65_000, [agent])).phase).toBe('live');
    expect(play.on(80_100, look(80_100, [agent])).reason).toBe('callers_left');
  });

  it('the wait for a first caller starts again too', () => {
    const play = Play.live()
      .on(1000, { type: 'livekit', reachable: false })
      .on(200_000, { type: 'livekit', reachable: true });
    expect(play.on(219_000, look(219_000, [agent])).phase).toBe('live');
    expect(play.on(220_100, look(220_100, [agent])).reason).toBe('no_caller_joined');
  });

  it('callers who come back keep their session', () => {
    const play = away()
      .on(100_000, { type: 'livekit', reachable: true })
      .on(100_000, look(100_000, [], { roomSid: null }));
    play.on(105_000, look(105_000, [agent, participant('ann', { sid: 'PA_9' })], { roomSid: 'RM_2' }));
    expect(
      play.on(400_000, look(400_000, [agent, participant('ann', { sid: 'PA_9' })], { roomSid: 'RM_2' }))
        .phase,
    ).toBe('live');
  });
});

it('a gap restarts the clocks of absence', () => {
  const play = Play.live()
    .on(1000, look(1000, [agent, ann]))
    .on(2000, left(2000, ann, 'client_initiated'));
  play.nowMs = 60_000;
  play.on(60_000, { type: 'gap', gapMs: 58_000 });
  expect(play.on(65_000, look(65_000, [agent])).phase).toBe('live');
  expect(play.on(80_100, look(80_100, [agent])).reason).toBe('callers_left');
});
