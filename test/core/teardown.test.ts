/** The teardown: its process track, its room track, and the rule for the room. */
import { describe, expect, it } from 'vitest';
import { allocationOf } from '../../src/core/admission/allocation.ts';
import type { Participant } from '../../src/core/rooms/presence.ts';
import { repeatRoomStep } from '../../src/core/teardown/room-track.ts';
import { DEADLINES, DEFAULT_LADDER } from '../../src/lib/limits/session-limits.ts';
import {
  agent,
  at,
  exited,
  gone,
  look,
  Play,
  PROCESS,
  participant,
  profile,
  release,
  says,
  shutdown,
  WORKER,
} from './support.ts';

const closed = says({ type: 'closed' });
const removed = { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null } as const;
const roomClosed = { ...removed, step: 'close_room' } as const;
const noRoom = { livekit: false };

describe('in the process track,', () => {
  it('a worker that closes in order goes through aclose and disconnect only', () => {
    const play = Play.live(noRoom).on(1000, release).on(2000, closed).on(2500, exited(0)).on(2510, gone());
    expect(play.ladder).toEqual(['aclose:done', 'disconnect:exited']);
    expect(play).toMatchObject({ phase: 'ended', reason: 'requested' });
  });

  it('a worker that never closes goes through every step to KILL', () => {
    const play = Play.live(noRoom).on(1000, release).on(32_000, gone());
    expect(play.ladder).toEqual(['aclose:timeout', 'disconnect:timeout', 'term:timeout', 'kill:exited']);
    expect(play.did('signal').map((one) => [one.atMs, one.effect])).toMatchObject([
      [21_000, { signal: 'SIGTERM', to: 'main' }],
      [30_000, { signal: 'SIGTERM' }],
      [31_000, { signal: 'SIGKILL' }],
    ]);
  });

  it('a worker that dies during aclose is scanned for, and the first cause stays', () => {
    const play = Play.live(noRoom).on(1000, release).on(1500, exited(3)).on(1510, gone());
    expect(play).toMatchObject({ phase: 'ended', reason: 'requested', ladder: ['aclose:exited'] });
  });

  it('a worker without a channel starts at TERM', () => {
    const play = Play.starting({ ...noRoom, profile: profile({ protocol: 'none' }) })
      .on(1000, release)
      .on(1100, exited(null, 'SIGTERM'))
      .on(1110, gone());
    expect(play.ladder).toEqual(['term:exited']);
  });

  describe('a worker with a lost connection, as after a restart of the supervisor,', () => {
    const lost = { type: 'channel', workerId: WORKER, open: false } as const;
    const open = { ...lost, open: true };

    it('is asked when it reconnects', () => {
      const play = Play.live(noRoom).on(900, lost).on(1000, release).on(2000, open);
      expect(play.did('tell').map((one) => [one.atMs, one.effect])).toContainEqual([
        2000,
        expect.objectContaining({ message: expect.objectContaining({ type: 'aclose', boundMs: 10_000 }) }),
      ]);
      play.on(2100, closed).on(2200, exited(0)).on(2210, gone());
      expect(play.ladder).toEqual(['aclose:done', 'disconnect:exited']);
    });

    it('gets TERM when it does not reconnect within its bound', () => {
      const play = Play.live(noRoom)
        .on(900, lost)
        .on(1000, release)
        .on(4500, exited(null, 'SIGTERM'))
        .on(4510, gone());
      expect(play.did('signal').map((one) => [one.atMs, one.effect])).toMatchObject([
        [4000, { signal: 'SIGTERM', to: 'main' }],
        [4500, { signal: 'SIGTERM' }],
      ]);
      expect(play.ladder).toEqual(['term:exited']);
    });

    it('is scanned for when it dies meanwhile', () => {
      const play = Play.live(noRoom).on(900, lost).on(1000, release).on(1100, exited(0)).on(1110, gone());
      expect(play).toMatchObject({ phase: 'ended', reason: 'requested', ladder: [] });
    });

    it('gets TERM at once when it never connected', () => {
      const play = Play.starting({ ...noRoom, profile: profile({ protocol: 'none' }) })
        .on(900, lost)
        .on(1000, release);
      expect(play.did('signal')).toHaveLength(1);
    });
  });

  describe('a worker that outlives the bound of KILL', () => {
    const killed = () => Play.live(noRoom).on(1000, release).on(33_000, { type: 'tick' });
    const tree = (left: number) => ({ type: 'tree', workerId: WORKER, left }) as const;

    it('is scanned for once more, because it may have died while the host was suspended', () => {
      const play = killed();
      expect(play.did('reap').map((one) => one.atMs)).toEqual([33_000]);
      play.on(33_010, gone());
      expect(play).toMatchObject({ phase: 'ended', reason: 'requested' });
      expect(play.ladder.at(-1)).toBe('kill:exited');
    });

    it('is unkillable when that scan finds it', () => {
      expect(killed().on(33_010, tree(1))).toMatchObject({ phase: 'ended', reason: 'unkillable' });
    });

    it('is unkillable when that scan does not answer', () => {
      const play = killed();
      const dueMs = 33_000 + DEADLINES.confirmMs;
      expect(play.on(dueMs - 1, { type: 'tick' })).toMatchObject({ phase: 'closing', reason: 'requested' });
      expect(play.on(dueMs, { type: 'tick' })).toMatchObject({ phase: 'ended', reason: 'unkillable' });
    });

    // Only the supervisor that sent KILL polls the tree until it is empty, and that supervisor ended.
    it('is killed again by a supervisor that takes over before that scan', () => {
      const play = killed();
      const before = play.did('reap').length;
      play.on(34_000, { type: 'gap', gapMs: 0 });
      expect(play.did('signal').at(-1)).toMatchObject({ atMs: 34_000, effect: { signal: 'SIGKILL' } });
      expect(play.did('reap').length).toBe(before);
      const dueMs = 34_000 + DEADLINES.confirmMs;
      expect(play.on(dueMs - 1, { type: 'tick' })).toMatchObject({ phase: 'closing', reason: 'requested' });
      expect(play.on(dueMs, { type: 'tick' })).toMatchObject({ phase: 'ended', reason: 'unkillable' });
    });

    it('is killed again by a supervisor that takes over while only the room is left', () => {
      const ladder = { ...DEFAULT_LADDER, closeRoomMs: 20_000 };
      const play = Play.live({ profile: profile({ ladder }) })
        .on(1000, release)
        .on(33_000, { type: 'tick' })
        .on(33_010, tree(1));
      expect(play.phase).toBe('closing');
      play.on(33_020, { type: 'gap', gapMs: 0 });
      expect(play.did('signal').at(-1)).toMatchObject({ atMs: 33_020, effect: { signal: 'SIGKILL' } });
    });
  });

  describe('a session after its supervisor died during a question to LiveKit', () => {
    const asked = () =>
      Play.live()
        .on(500, look(500, [agent]))
        .on(1000, exited(1))
        .on(1010, gone());

    const repeated = (play: Play) => repeatRoomStep(play.session, at(play.nowMs)).effects;

    it('leaves a person with the identity of its agent in the room', () => {
      const person = participant(agent.identity);
      const play = asked().on(1015, look(1015, [person]));
      const next = repeatRoomStep(play.session, at(2000));
      expect(next.effects).toEqual([{ do: 'poll_room' }]);
      expect(next.state.phase).toMatchObject({ ladder: { room: { step: 'close_room' } } });
    });

    it('has its agent removed by the next supervisor', () => {
      expect(repeated(asked())).toMatchObject([{ do: 'remove_agent', boundMs: 5000 }]);
    });

    it('has its room polled and closed by the next supervisor', () => {
      const play = asked().on(1020, removed);
      expect(repeated(play)).toEqual([{ do: 'poll_room' }]);
      play.on(3100, look(3090, []));
      expect(repeated(play)).toMatchObject([{ do: 'close_room', boundMs: 5000 }]);
      expect(repeated(play.on(3200, roomClosed))).toEqual([]);
    });

    it('asks LiveKit nothing twice in one life, because a second question could hit the next session of the room', () => {
      const play = asked().on(3000, { type: 'gap', gapMs: 2000 });
      expect(play.did('remove_agent')).toHaveLength(1);
    });
  });

  it('a worker that left children is over only when they are gone', () => {
    const play = Play.live(noRoom).on(1000, exited(0));
    expect(play).toMatchObject({ phase: 'closing', reason: 'completed', ladder: [] });
    play.on(1010, { type: 'tree', workerId: WORKER, left: 2 });
    expect(play.ladder).toEqual(['term:…']);
    expect(play.on(12_000, gone()).ladder).toEqual(['term:timeout', 'kill:exited']);
  });

  it('a worker that said closed starts at disconnect', () => {
    expect(Play.live(noRoom).on(1000, closed).ladder).toEqual(['disconnect:…']);
  });

  it('a spawn that is under way is waited for, then ended', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(100, release);
    expect(play).toMatchObject({ phase: 'closing', ladder: [] });
    play.on(200, { type: 'spawned', workerId: WORKER, process: PROCESS });
    expect(play.did('signal')).toHaveLength(1);
    expect(play.on(300, gone()).phase).toBe('ended');
  });

  it('a spawn that fails meanwhile ends the track', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(100, release);
    expect(play.on(200, { type: 'spawn_failed', workerId: WORKER, detail: 'no' })).toMatchObject({
      phase: 'ended',
      reason: 'requested',
    });
  });

  it('an unkillable worker is named, keeps slot and claim, and frees both when it is gone', () => {
    const play = Play.live(noRoom).on(1000, release).until(60_000);
    expect(play).toMatchObject({ phase: 'ended', reason: 'unkillable' });
    expect(play.ending?.detail).toContain('first cause: requested');
    expect(allocationOf(play.session)).toMatchObject({ quotas: ['host', 'agent:default'], closing: true });
    expect(allocationOf(play.on(90_000, gone()).session)).toBeNull();
  });

  it('a worker that starts after the track gave up is killed at once', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(100, release)
      .until(100_000);
    expect(play.reason).toBe('unkillable');
    const before = play.did('signal').length;
    play.on(100_001, { type: 'spawned', workerId: WORKER, process: PROCESS });
    expect(play.did('signal').slice(before)).toMatchObject([{ effect: { signal: 'SIGKILL' } }]);
  });

  it('a worker that never starts frees slot and claim after the track gave up', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(100, release)
      .until(100_000);
    expect(allocationOf(play.session)).not.toBeNull();
    play.on(100_001, { type: 'spawn_failed', workerId: WORKER, detail: 'no' });
    expect(allocationOf(play.session)).toBeNull();
  });

  it('a worker that reconnects is asked again, with the rest of the bound', () => {
    const play = Play.live(noRoom)
      .on(1000, release)
      .on(2000, { type: 'channel', workerId: WORKER, open: false })
      .on(3000, { type: 'channel', workerId: WORKER, open: true });
    expect(play.did('tell').at(-1)).toMatchObject({ effect: { message: { type: 'aclose', boundMs: 8000 } } });
  });

  it('later requests change neither cause nor steps', () => {
    const play = Play.live(noRoom)
      .on(1000, shutdown)
      .on(1500, release)
      .on(2000, closed)
      .on(2100, exited(0))
      .on(2100, gone());
    expect(play).toMatchObject({ phase: 'ended', reason: 'shutdown' });
  });
});

describe('a host that is suspended again and again', () => {
  it('gives a step its own bound again each time, and no more', () => {
    const play = Play.live(noRoom).on(1000, release);
    for (let gapMs = 5000; gapMs <= 50_000; gapMs += 5000)
      play.on(1000 + gapMs, { type: 'gap', gapMs: 5000 });
    expect(play.session.phase).toMatchObject({ ladder: { process: { step: 'aclose', deadlineMs: 61_000 } } });
  });

  it('restarts the bound of a step without a record too', () => {
    const play = Play.live(noRoom).on(1000, exited(1)).on(1900, { type: 'gap', gapMs: 5000 });
    expect(play.session.phase).toMatchObject({ ladder: { process: { step: 'reap', deadlineMs: 2900 } } });
  });
});

describe('an event of another worker', () => {
  const other = 's1.0' as typeof WORKER;

  it('moves no step', () => {
    const play = Play.live(noRoom).on(1000, release);
    const before = play.ladder;
    play.on(1100, says({ type: 'closed' }, other)).on(1100, { type: 'tree', workerId: other, left: 2 });
    expect(play.ladder).toEqual(before);
    const waiting = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(10, release);
    waiting
      .on(20, { type: 'spawn_failed', workerId: other, detail: 'no' })
      .on(20, { type: 'spawned', workerId: other, process: PROCESS });
    expect(waiting.session.phase).toMatchObject({
      name: 'closing',
      ladder: { process: { step: 'spawning' } },
    });
  });

  it('that reports a late spawn failure leaves no step without its end', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(10, release);
    play.until(11_000).on(11_000, { type: 'spawn_failed', workerId: WORKER, detail: 'no' });
    expect(play).toMatchObject({ phase: 'ended', ladder: ['term:skipped'] });
  });
});

describe('a wrap-up', () => {
  const alone = () => Play.live({ user: 'ann' }).on(500, look(500, [agent]));

  it('without a caller may take a minute, and the user may call again', () => {
    const play = alone().on(1000, release);
    expect(play.did('tell').at(-1)).toMatchObject({
      effect: { message: { type: 'aclose', boundMs: DEFAULT_LADDER.wrapUpMs } },
    });
    expect(allocationOf(play.session)?.quotas).toEqual(['host', 'agent:default']);
  });

  it('is cut short when the caller is back and waits for the claim', () => {
    const play = alone().on(1000, release).on(5000, { type: 'claim_wanted' });
    expect(play.until(14_900).phase).toBe('closing');
    expect(play.ladder[0]).toBe('aclose:…');
    expect(play.until(15_000).ladder[0]).toBe('aclose:timeout');
  });

  it('is never begun for a worker that reconnects while a session waits for the claim', () => {
    const play = alone()
      .on(600, { type: 'channel', workerId: WORKER, open: false })
      .on(1000, release)
      .on(1100, { type: 'claim_wanted' })
      .on(1200, { type: 'channel', workerId: WORKER, open: true });
    expect(play.did('tell').at(-1)).toMatchObject({
      effect: { message: { type: 'aclose', boundMs: DEFAULT_LADDER.acloseMs } },
    });
  });

  it('is never begun while a caller is there', () => {
    const play = Play.live()
      .on(500, look(500, [agent, participant('ann')]))
      .on(1000, release);
    expect(play.did('tell').at(-1)).toMatchObject({
      effect: { message: { type: 'aclose', boundMs: 10_000 } },
    });
  });

  it('is never begun at a stop of the supervisor', () => {
    expect(alone().on(1000, shutdown).did('tell').at(-1)).toMatchObject({
      effect: { message: { boundMs: 10_000 } },
    });
    const play = alone().on(1000, release).on(2000, shutdown).until(12_100);
    expect(play.ladder[0]).toBe('aclose:timeout');
  });
});

describe('the room track', () => {
  const ann = participant('ann');
  const sip = participant('sip', { kind: 'sip' });
  const helper = participant('helper', { kind: 'agent', agentGrant: true });
  const avatar = participant('avatar', { kind: 'agent' });
  const end = (
    who: readonly Participant[],
    more: { made?: boolean; roomOnEnd?: 'auto' | 'close' | 'keep'; completed?: boolean } = {},
  ) => {
    const { made = true, roomOnEnd = 'auto', completed = false } = more;
    const room = { roomCreatedWallMs: at(made ? 10 : -60_000).wallMs };
    const play = Play.live({ profile: profile({ roomOnEnd }) }).on(100, look(100, [agent, ...who], room));
    play
      .on(1000, completed ? closed : exited(1))
      .on(1001, exited(0))
      .on(1010, gone());
    return play.on(1020, removed).on(1100, look(1100, who, room));
  };
  const actionOf = (play: Play) => {
    const { phase } = play.session;
    return phase.name === 'closing'
      ? phase.ladder.roomEnd?.action
      : phase.name === 'ended'
        ? phase.roomEnd?.action
        : undefined;
  };

  it.each<[string, Play, string]>([
    ['made for it, one caller', end([ann]), 'close'],
    ['made for it, nobody', end([]), 'close'],
    ['made by others, one caller', end([ann], { made: false }), 'keep'],
    ['made by others, one phone', end([sip], { made: false }), 'close'],
    ['made by others, one phone with another agent', end([sip, helper], { made: false }), 'watch'],
    ['made for it, one caller with another agent', end([ann, helper]), 'watch'],
    ['made for it, one caller with an avatar', end([ann, avatar]), 'close'],
    ['made for it, another agent alone', end([helper]), 'close'],
    ['two callers', end([ann, sip]), 'watch'],
    ['completed, one caller', end([ann], { completed: true }), 'watch'],
    ['completed, nobody', end([], { completed: true }), 'close'],
    ['close', end([ann, sip], { roomOnEnd: 'close', made: false }), 'close'],
    ['keep', end([], { roomOnEnd: 'keep' }), 'keep'],
    [
      'a caller who came after the end',
      end([participant('late', { joinedAtWallMs: at(1050).wallMs })]),
      'watch',
    ],
  ])('%s', (_name, play, action) => {
    expect(actionOf(play)).toBe(action);
  });

  it('begins beside TERM, and both must be over', () => {
    const play = Play.starting({ profile: profile({ protocol: 'none' }) })
      .on(100, look(100, [agent, ann]))
      .on(1000, release);
    expect(play.ladder).toEqual(['term:…', 'remove_agent:…']);
    play.on(1050, exited(0)).on(1060, gone());
    expect(play.phase).toBe('closing');
    play
      .on(1100, removed)
      .on(1200, look(1150, [ann]))
      .on(1300, roomClosed);
    expect(play).toMatchObject({
      phase: 'ended',
      ladder: ['term:exited', 'remove_agent:done', 'close_room:done'],
    });
  });

  it('is over within its bounds when LiveKit does not answer', () => {
    const play = Play.live()
      .on(1000, { type: 'livekit', reachable: false })
      .on(2000, exited(1))
      .on(2010, gone())
      .until(12_020);
    expect(play).toMatchObject({ phase: 'ended', reason: 'crashed' });
    expect(play.did('close_room')).toEqual([]);
  });

  it('leaves the room to the next session that waits for it', () => {
    const play = Play.live()
      .on(100, look(100, [agent, ann]))
      .on(1000, exited(1))
      .on(1005, { type: 'claim_wanted' })
      .on(1010, gone())
      .on(1020, removed)
      .on(1100, look(1100, [ann]));
    expect(play).toMatchObject({ phase: 'ended', reason: 'crashed' });
    expect(play.did('close_room')).toEqual([]);
    // That session may never start, and then no other one would close the room.
    expect(play.did('watch_room')).toHaveLength(1);
  });

  it('decides on a snapshot asked for after its step began', () => {
    const play = Play.live()
      .on(100, look(100, [agent, ann]))
      .on(1000, exited(1))
      .on(1010, gone())
      .on(2000, removed)
      .on(2010, look(1500, [ann]));
    expect(play.did('close_room')).toEqual([]);
    expect(play.on(2100, look(2050, [ann])).did('close_room')).toHaveLength(1);
  });

  it('watches a kept room', () => {
    const play = end([ann, participant('bob')]);
    expect(play.did('watch_room')).toMatchObject([
      { effect: { watch: { roomSid: 'RM_1', made: true, session: expect.any(String) } } },
    ]);
  });
});
