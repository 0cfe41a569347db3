/** A live session: its endings besides absence. */
import { describe, expect, it } from 'vitest';
import {
  agent,
  exited,
  gone,
  look,
  Play,
  PROCESS,
  participant,
  profile,
  release,
  says,
  spec,
  WORKER,
} from './support.ts';

const ann = participant('ann');
const error = (text = 'boom') => says({ type: 'error', message: text });
const noRoom = { livekit: false };
const limits = spec().limits;

describe('a starting session', () => {
  it('is live when its level-0 process runs, or when its level-1 worker says ready', () => {
    expect(Play.starting({ profile: profile({ protocol: 'none' }) }).phase).toBe('live');
    expect(Play.starting().phase).toBe('starting');
  });

  it('waits for the start rate', () => {
    const play = Play.queued().on(0, { type: 'granted', startAtMs: 500, workerId: WORKER });
    expect(play.did('spawn')).toEqual([]);
    expect(play.until(500).did('spawn')).toMatchObject([{ atMs: 500 }]);
  });

  it('ends as start_timeout when its worker is not ready after 30 s', () => {
    expect(Play.starting(noRoom).until(30_000).reason).toBe('start_timeout');
  });

  it.each([
    ['alone', [{ type: 'failed', message: 'no voice' }]],
    ['and closed', [{ type: 'failed', message: 'no voice' }, { type: 'closed' }]],
  ] as const)('a worker that says failed before it is ready is crashed: %s', (_what, messages) => {
    const play = Play.starting().on(5, { type: 'channel', workerId: WORKER, open: true });
    for (const message of messages) play.on(10, says(message));
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ending).toMatchObject({ cause: 'failed', detail: 'no voice' });
  });

  it('ends as crashed at once when its spawn fails, with the reason', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(5, { type: 'spawn_failed', workerId: WORKER, detail: 'no such command' });
    expect(play).toMatchObject({ phase: 'ended', reason: 'crashed' });
    expect(play.ending).toMatchObject({ cause: 'spawn_failed', detail: 'no such command' });
  });

  it('is started again while the start cannot be recorded, and ends as crashed after its start timeout', () => {
    const detail = 'the start could not be recorded: the disk is full';
    const play = Play.queued(noRoom).on(0, { type: 'granted', startAtMs: 0, workerId: WORKER });
    const unrecorded = () =>
      play.on(play.nowMs + 5, { type: 'spawn_failed', workerId: WORKER, detail, isUnrecorded: true });
    expect(unrecorded()).toMatchObject({ phase: 'starting' });
    expect(play.until(4900).did('spawn')).toHaveLength(1);
    expect(play.until(5100).did('spawn').at(-1)).toMatchObject({ effect: { workerId: WORKER, attempt: 1 } });
    const recorded = unrecorded()
      .until(11_000)
      .on(11_000, { type: 'spawned', workerId: WORKER, process: PROCESS });
    expect(recorded.until(20_000).did('spawn')).toHaveLength(3);
    expect(recorded.phase).toBe('starting');
    const never = Play.queued(noRoom).on(0, { type: 'granted', startAtMs: 0, workerId: WORKER });
    for (let times = 0; times < 6; times += 1)
      never
        .on(never.nowMs + 5, { type: 'spawn_failed', workerId: WORKER, detail, isUnrecorded: true })
        .until(never.nowMs + 5050);
    expect(never).toMatchObject({ phase: 'ended', reason: 'crashed' });
    expect(never.ending).toMatchObject({ cause: 'spawn_failed', detail });
  });

  it('is started under the next worker id when the supervisor ended before the spawn, and never twice', () => {
    const play = Play.queued(noRoom)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(5, { type: 'not_started', workerId: WORKER })
      .on(6, { type: 'not_started', workerId: WORKER });
    expect(play.did('spawn').map((one) => one.effect)).toMatchObject([
      { workerId: WORKER },
      { workerId: WORKER.replace('.1', '.2') },
    ]);
    expect(play.phase).toBe('starting');
    expect(Play.starting(noRoom).on(5, { type: 'not_started', workerId: WORKER }).did('spawn')).toHaveLength(
      1,
    );
  });

  it('ends as start_timeout when its time in the queue is over', () => {
    expect(Play.queued().on(30_000, { type: 'expired', detail: 'limit host' }).ending).toMatchObject({
      reason: 'start_timeout',
      cause: 'queue_timeout',
    });
  });
});

describe('an exit of the worker with', () => {
  it.each([
    [0, null, 'completed'],
    [1, null, 'crashed'],
    [null, 'SIGSEGV', 'crashed'],
    [null, null, 'worker_lost'],
  ])('code %s and signal %s ends the session as %s', (code, signal, reason) => {
    expect(Play.live(noRoom).on(1000, exited(code, signal)).reason).toBe(reason);
  });
});

describe('errors in a row', () => {
  const five = (play: Play, from: number) =>
    [1, 2, 3, 4, 5].reduce((next, step) => next.on(from + step, error(`e${step}`)), play);

  it('end the session at the fifth', () => {
    expect(five(Play.live(noRoom), 0).ending).toMatchObject({
      reason: 'error_limit',
      detail: expect.stringContaining('e5'),
    });
  });

  it('end nothing when an ok comes between four and four', () => {
    const play = Play.live(noRoom);
    for (let at = 1; at <= 4; at++) play.on(at, error());
    play.on(5, says({ type: 'ok' }));
    for (let at = 6; at <= 9; at++) play.on(at, error());
    expect(play).toMatchObject({ phase: 'live', session: { errors: { consecutive: 4, total: 8 } } });
  });

  it('count from zero after a minute without one', () => {
    const play = Play.live(noRoom);
    for (let at = 1; at <= 4; at++) play.on(at, error());
    expect(play.until(60_004).session.errors).toMatchObject({ consecutive: 0, total: 4 });
  });

  it('end the session at its own limit', () => {
    expect(Play.live({ ...noRoom, limits: { ...limits, errorLimit: 1 } }).on(1, error()).reason).toBe(
      'error_limit',
    );
  });
});

describe('a live session', () => {
  it('ends at its maximum duration, and its worker gets a notice 60 s before', () => {
    const play = Play.live(noRoom).until(7_139_000);
    const notices = () =>
      play
        .did('tell')
        .filter((one) => (one.effect as { message: { type: string } }).message.type === 'notice');
    expect(notices()).toEqual([]);
    expect(play.until(7_140_000) && notices()).toMatchObject([
      { atMs: 7_140_000, effect: { message: { reason: 'max_duration', inMs: 60_000 } } },
    ]);
    expect(play.until(7_200_000).reason).toBe('max_duration');
  });

  it('is idle after the last activity or keep-alive, once activity was reported', () => {
    expect(Play.live(noRoom).until(1_000_000).phase).toBe('live');
    const play = Play.live(noRoom)
      .on(1000, says({ type: 'activity', kind: 'caller_speech' }))
      .on(100_000, says({ type: 'activity', kind: 'task' }));
    expect(play.until(219_000).phase).toBe('live');
    play.on(219_000, { type: 'keep_alive', forMs: 600_000, by: { kind: 'local', name: 'x' } });
    expect(play.until(818_000).phase).toBe('live');
    expect(play.until(819_000).reason).toBe('idle_timeout');
  });

  it('is idle for any worker when the dispatch asks for it', () => {
    expect(Play.live({ ...noRoom, idleAsked: true }).until(120_000).reason).toBe('idle_timeout');
  });

  it('keeps a longer allowance when a shorter keep-alive comes', () => {
    const play = Play.live({ ...noRoom, idleAsked: true })
      .on(1000, says({ type: 'activity', kind: 'keep_alive', forMs: 900_000 }))
      .on(2000, says({ type: 'activity', kind: 'agent_speech' }));
    expect(play.until(900_000).phase).toBe('live');
  });

  it('asks a silent worker for its stacks after 30 s, and ends when they came or 5 s later', () => {
    const play = Play.live(noRoom).silent().until(30_000);
    expect(play.did('tell').at(-1)).toMatchObject({ atMs: 30_000, effect: { message: { type: 'dump' } } });
    expect(play.on(30_500, says({ type: 'dumped' })).ending).toMatchObject({ reason: 'unresponsive' });
    expect(play.ladder).toEqual(['term:…']);
    expect(Play.live(noRoom).silent().until(35_000).reason).toBe('unresponsive');
  });

  it('ignores the silence of a mute worker until it connects', () => {
    const mute = { type: 'channel', workerId: WORKER, open: false, mute: true } as const;
    const play = Play.live(noRoom)
      .on(500, says({ type: 'activity', kind: 'caller_speech' }))
      .silent()
      .on(1000, mute)
      .on(1000, { type: 'gap', gapMs: 0 });
    expect(play.until(1_000_000).phase).toBe('live');
    expect(play.did('tell')).toEqual(Play.live(noRoom).did('tell'));
    expect(
      Play.live(noRoom)
        .silent()
        .on(1000, mute)
        .on(2000, { ...mute, open: true })
        .until(37_000).reason,
    ).toBe('unresponsive');
    expect(play.until(7_200_000).reason).toBe('max_duration');
  });

  it('goes on when a heartbeat comes in time', () => {
    const play = Play.live(noRoom)
      .silent()
      .on(31_000, says({ type: 'heartbeat' }));
    expect(play.until(60_000).phase).toBe('live');
  });

  it.each([
    [30_000, 5000],
    [5000, 1667],
  ])('ends after %i ms of silence, and asks for a heartbeat every %i ms', (heartbeatStaleMs, heartbeatMs) => {
    const play = Play.live({ ...noRoom, profile: profile({ heartbeatStaleMs }) });
    expect(play.did('tell').map((one) => one.effect)).toContainEqual(
      expect.objectContaining({ message: expect.objectContaining({ type: 'welcome', heartbeatMs }) }),
    );
  });

  it('restarts the clock of silence at a gap, and not the maximum duration', () => {
    const play = Play.live(noRoom).silent().until(20_000);
    play.nowMs = 7_190_000;
    play.on(7_190_000, { type: 'gap', gapMs: 7_170_000 });
    expect(play.until(7_199_000).phase).toBe('live');
    expect(play.until(7_200_000).reason).toBe('max_duration');
  });

  it('ends when two samples in a row are over its memory limit', () => {
    const play = Play.live({ ...noRoom, profile: profile({ memoryBytes: 1000 }) });
    const sample = (atMs: number, bytes: number) =>
      play.on(atMs, {
        type: 'resources',
        workerId: WORKER,
        memory: { bytes, measure: 'pss' },
        cpuPercent: 1,
      });
    for (const [index, bytes] of [1000, 1001, 999, 5000].entries())
      expect(sample(10 + index, bytes).phase).toBe('live');
    expect(sample(20, 1001).reason).toBe('memory_limit');
  });
});

describe('new metadata', () => {
  it('is sent until it is acknowledged, and again to a worker that reconnects', () => {
    const sent = (play: Play) =>
      play
        .did('tell')
        .filter((one) => (one.effect as { message: { type: string } }).message.type === 'configure').length;
    const play = Play.live(noRoom).on(1000, { type: 'metadata', metadata: { lang: 'fr' } });
    expect(sent(play)).toBe(1);
    expect(sent(play.until(6000))).toBe(2);
    play
      .on(6500, { type: 'channel', workerId: WORKER, open: false })
      .on(7000, { type: 'channel', workerId: WORKER, open: true });
    expect(sent(play)).toBe(3);
    expect(sent(play.on(7100, says({ type: 'configured', rev: 1 })).until(60_000))).toBe(3);
  });
});

describe('the mass-end budget', () => {
  const absent = () =>
    Play.live()
      .answering(false)
      .on(1000, look(1000, [agent, ann]))
      .on(2000, look(2000, [agent]))
      .on(22_100, look(22_100, [agent]));

  it('holds an inferred ending, and is asked again after 60 s and a new poll', () => {
    const play = absent();
    expect(play).toMatchObject({ phase: 'live', session: { phase: { inference: { heldUntilMs: 82_100 } } } });
    play.answering(true).until(82_100);
    expect(play.phase).toBe('live');
    play.on(82_200, look(82_150, [agent]));
    expect(play.reason).toBe('callers_left');
    expect(play.did('ask_budget').map((one) => (one.effect as { again: boolean }).again)).toEqual([
      false,
      true,
    ]);
  });

  it('drops a held ending when its ground is gone', () => {
    const play = absent().on(30_000, look(30_000, [agent, ann]));
    expect(play.session.phase).toMatchObject({ name: 'live', inference: null });
    expect(play.session.vitals.heldBefore).toBe(false);
  });

  it('drops a held ending when the new poll finds the callers', () => {
    const play = absent()
      .until(82_100)
      .on(82_200, look(82_150, [agent, ann]));
    expect(play.phase).toBe('live');
    play.on(200_000, look(200_000, [agent])).on(220_100, look(220_100, [agent]));
    expect(play.did('ask_budget').map((one) => (one.effect as { again: boolean }).again)).toEqual([
      false,
      false,
    ]);
  });

  it('asks for no poll in a session without LiveKit', () => {
    const play = Play.live({ livekit: false, idleAsked: true }).answering(false).until(300_000);
    expect(play.did('ask_budget').length).toBeGreaterThan(1);
    expect(play.did('poll_room')).toEqual([]);
  });

  it('does not hold a hang-up, a request or an exit', () => {
    expect(absent().on(30_000, release).reason).toBe('requested');
    expect(Play.live(noRoom).answering(false).on(10, exited(1)).reason).toBe('crashed');
  });
});

describe('a crashed worker', () => {
  const replaced = profile({ replace: true });
  const second = 's1.2' as typeof WORKER;
  const up = () => Play.live({ profile: replaced }).on(1000, look(1000, [agent, ann]));

  it.each([
    ['a crash', (play: Play) => play.on(2000, exited(1)), 'crashed', 'exit'],
    [
      'its own word',
      (play: Play) => play.on(2000, says({ type: 'failed', message: 'no' })),
      'crashed',
      'failed',
    ],
    ['silence', (play: Play) => play.silent().until(80_000), 'unresponsive', 'deadline:unresponsive'],
  ])('is remembered with the reason of its replacement: %s', (_what, end, reason, cause) => {
    expect(end(up()).session.replaced).toMatchObject([{ worker: WORKER, why: { reason, cause } }]);
  });

  it('is replaced only when its whole tree is gone and the backoff is over', () => {
    const play = up().on(2000, exited(1)).on(2001, { type: 'tree', workerId: WORKER, left: 1 }).until(5000);
    expect(play.did('spawn')).toHaveLength(1);
    play.on(5000, gone());
    expect(play.did('spawn').at(-1)).toMatchObject({ atMs: 5000, effect: { workerId: second, attempt: 2 } });
    expect(play).toMatchObject({ phase: 'live', session: { restarts: 1 } });
  });

  it('is replaced after a longer wait each time', () => {
    const play = up().on(2000, exited(1)).on(2001, gone()).until(2400);
    expect(play.did('spawn')).toHaveLength(1);
    expect(play.until(2700).did('spawn')).toHaveLength(2);
  });

  it('is not replaced when no caller is there, or when the profile forbids it', () => {
    expect(
      Play.live({ profile: replaced })
        .on(1000, look(1000, [agent]))
        .on(2000, exited(1))
        .on(2100, look(2000, [])).reason,
    ).toBe('crashed');
    expect(
      Play.live()
        .on(1000, look(1000, [agent, ann]))
        .on(2000, exited(1)).reason,
    ).toBe('crashed');
  });

  it('ends the session as error_limit at the fifth crash in a row', () => {
    const play = up();
    for (let attempt = 1; attempt <= 5; attempt++) {
      const id = (attempt === 1 ? WORKER : `s1.${attempt}`) as typeof WORKER;
      play.on(play.nowMs + 10_000, exited(1, null, id)).on(play.nowMs + 1, gone(id));
    }
    expect(play.reason).toBe('error_limit');
    expect(play.session.restarts).toBe(4);
  });

  it('is replaced again and again while LiveKit does not answer, and counts below the limit', () => {
    const play = up().on(1500, { type: 'livekit', reachable: false });
    for (let attempt = 1; attempt <= 7; attempt++) {
      const id = (attempt === 1 ? WORKER : `s1.${attempt}`) as typeof WORKER;
      play.on(play.nowMs + 10_000, exited(1, null, id)).on(play.nowMs + 1, gone(id));
    }
    expect(play).toMatchObject({
      phase: 'live',
      session: { restarts: 6, errors: { consecutive: 4, total: 7 } },
    });
  });

  it('is not replaced after a release', () => {
    expect(up().on(2000, exited(1)).on(2100, release)).toMatchObject({ reason: 'requested' });
  });

  it('that is silent is killed before its replacement', () => {
    const play = up().silent().until(35_000);
    expect(play.did('signal')).toMatchObject([{ effect: { signal: 'SIGTERM', to: 'main' } }]);
    expect(play.until(44_000).did('signal')).toHaveLength(2);
    expect(play.until(45_000).did('signal')).toHaveLength(3);
    expect(play.on(45_100, gone()).phase).toBe('live');
  });
});
