/** Jobs of LiveKit: the acceptance, the assignment, the reports, and how LiveKit ends them. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import { LATER_TYPES } from '../../src/core/model/control-protocol.ts';
import { readJobOptions } from '../../src/core/model/job-options.ts';
import { decideRefused } from '../../src/core/rooms/refused-call.ts';
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
  WORKER,
} from './support.ts';

const job = { id: 'AJ_1', agentName: 'voice', metadata: '', attributes: {} };
const ann = participant('ann');
const promised = { type: 'granted', startAtMs: 0, assignedByMs: 3000, workerId: WORKER } as const;
const terminated = { type: 'job_terminated' } as const;
const reports = (play: Play) => play.did('report_job').map((one) => one.effect);

describe('a job', () => {
  it('that was accepted is started when LiveKit assigns it', () => {
    const play = Play.queued({ job }).on(0, promised);
    expect(play.did('spawn')).toEqual([]);
    expect(play.on(10, { type: 'assigned' }).did('spawn')).toMatchObject([{ atMs: 10 }]);
  });

  it('is started without an assignment in the end, because a caller waits', () => {
    expect(Play.queued({ job }).on(0, promised).until(3000).did('spawn')).toMatchObject([{ atMs: 3000 }]);
  });

  it('that waits for the start rate is not started earlier by its assignment', () => {
    const play = Play.queued({ job })
      .on(0, { ...promised, startAtMs: 500 })
      .on(10, { type: 'assigned' });
    expect(play.did('spawn')).toEqual([]);
    expect(play.until(500).did('spawn')).toMatchObject([{ atMs: 500 }]);
  });

  it('that LiveKit takes back before its start is over', () => {
    const play = Play.queued({ job }).on(0, promised).on(10, terminated);
    expect(play).toMatchObject({ phase: 'ended', reason: 'requested' });
    expect(play.ending).toMatchObject({ cause: 'job_terminated', by: { name: 'livekit' } });
  });

  it.each(['late', 'unsent'] as const)('that LiveKit does not know of (%s) never begins', (why) => {
    const play = Play.queued({ job }).on(0, promised).on(10, { type: 'job_withdrawn', why });
    expect(play).toMatchObject({ phase: 'ended', reason: 'start_timeout' });
    expect(play.ending).toMatchObject({ cause: `job_${why}`, by: null });
    expect(play.did('spawn')).toEqual([]);
  });

  it.each([
    ['expired', { type: 'expired', detail: 'limit host' }],
    ['withdrawn', { type: 'job_withdrawn', why: 'late' }],
  ] as const)('that is %s before its start is refused, and so is its room', (_what, event) => {
    const play = Play.queued({ job, unasked: true }).on(0, event);
    // LiveKit shows a job that we had as running; one that it never gave us may be another agent's.
    const ownJob = event.type === 'expired' ? 'AJ_1' : null;
    expect(play.did('refuse_call')).toMatchObject([{ effect: { room: { name: 'room' }, ownJob } }]);
    expect(Play.queued({ job }).on(0, event).did('refuse_call')).toEqual([]);
    expect(Play.queued({ job, unasked: true }).on(0, release).did('refuse_call')).toEqual([]);
  });

  it.each([
    ['starting', Play.starting({ job })],
    ['live', Play.live({ job })],
  ])('of which LiveKit does not know goes on once it is %s', (phase, play) => {
    expect(play.on(10, { type: 'job_withdrawn', why: 'late' }).phase).toBe(phase);
  });

  it('is reported as running, and as success before its worker is asked to close', () => {
    const play = Play.live({ job }).on(1000, release);
    expect(reports(play)).toMatchObject([{ status: 'running' }, { status: 'success', error: null }]);
    const order = play.effects.map((one) => one.effect.do);
    expect(order.indexOf('report_job', order.indexOf('report_job') + 1)).toBeLessThan(
      order.lastIndexOf('tell'),
    );
  });

  it('of a failed session is reported as failed, with the reason', () => {
    const play = Play.live({ job }).on(1000, exited(3));
    expect(reports(play).at(-1)).toMatchObject({
      status: 'failed',
      error: expect.stringContaining('crashed'),
    });
  });

  it('is not reported for a session of another origin', () => {
    expect(reports(Play.live().on(1000, release))).toEqual([]);
  });
});

describe('the end of a job after the deletion of its dispatch', () => {
  it.each([
    ['starting', Play.starting({ job })],
    ['live', Play.live({ job }).on(5, look(5, [ann, agent]))],
  ])('ends the call while it is %s', (_phase, play) => {
    play.on(1000, terminated);
    expect(play).toMatchObject({ phase: 'closing', reason: 'requested' });
    expect(play.ending).toMatchObject({ cause: 'job_terminated', by: { name: 'livekit' } });
  });

  it('ends it also when the worker was replaced before', () => {
    const replace = profile({ replace: true });
    const play = Play.live({ job, profile: replace })
      .on(100, look(100, [ann, agent]))
      .on(1000, exited(1))
      .on(1001, gone());
    expect(play.until(3000).on(3000, terminated)).toMatchObject({ phase: 'closing', reason: 'requested' });
  });
});

describe('the options of a job are read from', () => {
  const words = { metadata: '', attributes: {}, roomMetadata: '' };

  it.each([
    ['nothing', words, { metadata: {}, curfew: {} }],
    [
      'its metadata without the key curfew',
      { ...words, metadata: '{"lang":"de","curfew":{"user":"u"}}' },
      { metadata: { lang: 'de' }, curfew: { user: 'u' } },
    ],
    [
      'text is the agent own affair',
      { ...words, metadata: 'plain' },
      { metadata: { metadata: 'plain' }, curfew: {} },
    ],
    [
      'attributes',
      { ...words, attributes: { 'curfew.user': 'u', other: 'x', 'curfew.limits': '{"errorLimit":2}' } },
      { metadata: {}, curfew: { user: 'u', limits: { errorLimit: 2 } } },
    ],
    [
      'the dispatch before attributes before the room',
      {
        metadata: '{"curfew":{"a":1}}',
        attributes: { 'curfew.a': '2', 'curfew.b': '2' },
        roomMetadata: '{"curfew":{"a":3,"b":3,"c":3}}',
      },
      { metadata: {}, curfew: { a: 1, b: '2', c: 3 } },
    ],
    ['no list', { ...words, metadata: '[1]' }, { metadata: { metadata: '[1]' }, curfew: {} }],
  ])('%s', (_what, given, wanted) => {
    expect(readJobOptions(given)).toEqual(wanted);
  });
});

describe('a refused call', () => {
  const room = { project: 'default', name: 'room' };
  const call = { room, roomSid: null, dueMs: 10_000 };
  const phone = participant('+49', { kind: 'sip', sipCallStatus: 'active' });
  const decide = (asOfMs: number, who: Parameters<typeof look>[1], roomSid: string | null = 'RM_1') => {
    const seen = look(asOfMs, who, { roomSid });
    return decideRefused(call, seen.type === 'room_snapshot' ? seen.observation : ({} as never)).action;
  };

  it.each([
    ['waits', 9000, [phone], 'wait'],
    ['is a phone alone: hung up', 10_000, [phone], 'close'],
    ['are two phones: hung up', 10_000, [phone, { ...phone, identity: '+50' }], 'close'],
    ['has a browser, which can show an error', 10_000, [phone, ann], 'forget'],
    ['was taken elsewhere', 9000, [phone, { ...agent, identity: 'agent-of-another-host' }], 'forget'],
    ['has gone', 10_000, [], 'forget'],
  ] as const)('%s', (_what, asOfMs, who, wanted) => {
    expect(decide(asOfMs, [...who])).toBe(wanted);
  });

  it('is forgotten with its room', () => {
    expect(decide(1000, [phone], null)).toBe('forget');
  });
});

describe('a warm worker', () => {
  const warm = workerId('warm-1.1');
  const granted = { type: 'granted', startAtMs: 0, workerId: warm, warm: PROCESS } as const;

  it('gets its room in place of a start, and its session is live when the worker says ready', () => {
    const play = Play.queued().on(0, granted);
    expect(play.did('spawn')).toEqual([]);
    expect(play.did('assign')).toMatchObject([{ effect: { workerId: warm } }]);
    expect(play.on(5, says({ type: 'ready' }, warm))).toMatchObject({
      phase: 'live',
      session: { warmWorker: warm },
    });
  });

  it('that is a LiveKit agent gets the welcome of its session before its job, because its launcher connects later', () => {
    const livekit = profile({ protocol: 'livekit', heartbeatStaleMs: 9_000 });
    const play = Play.queued({ profile: livekit }).on(0, granted);
    const told = play.effects.map(({ effect }) => (effect.do === 'tell' ? effect.message : effect.do));
    expect(told.slice(0, 2)).toEqual([
      {
        type: 'welcome',
        v: 1,
        heartbeatMs: 3_000,
        job: expect.objectContaining({ session: play.session.spec.id, attempt: 1 }),
        accepts: [...LATER_TYPES],
      },
      'assign',
    ]);
  });

  it('gets its room again when it reconnects before it says ready', () => {
    const play = Play.queued().on(0, granted).on(5, { type: 'channel', workerId: warm, open: false });
    play.on(10, { type: 'channel', workerId: warm, open: true });
    expect(play.did('assign').map((one) => one.atMs)).toEqual([0, 10]);
  });

  it('that dies on assignment is replaced within the same dispatch, when its tree is gone', () => {
    const play = Play.queued()
      .on(0, granted)
      .on(5, exited(7, null, warm));
    expect(play).toMatchObject({ phase: 'starting' });
    expect(play.did('spawn')).toEqual([]);
    play.on(10, { type: 'tree', workerId: warm, left: 1 });
    expect(play.did('signal')).toMatchObject([{ effect: { signal: 'SIGKILL' } }]);
    expect(play.on(20, gone(warm)).did('spawn')).toMatchObject([{ atMs: 20, effect: { attempt: 2 } }]);
  });

  it('that says failed on assignment is replaced, whatever it says later', () => {
    const play = Play.queued().on(0, granted);
    for (const message of [
      { type: 'failed', message: 'no voice' },
      { type: 'closed' },
      { type: 'ready' },
    ] as const)
      play.on(5, says(message, warm));
    expect(play).toMatchObject({ phase: 'starting' });
    expect(play.did('signal')).toMatchObject([{ effect: { workerId: warm, signal: 'SIGKILL' } }]);
    expect(play.on(6, { type: 'gap', gapMs: 9000 }).did('signal')).toHaveLength(2);
    play.on(10, exited(null, 'SIGKILL', warm));
    expect(play.on(20, gone(warm)).did('spawn')).toMatchObject([{ atMs: 20, effect: { attempt: 2 } }]);
    expect(play.session.replaced).toMatchObject([{ worker: warm, why: { cause: 'failed' } }]);
  });

  it('that dies right after ready is replaced, even without a caller', () => {
    const ready = says({ type: 'ready' }, warm);
    const play = Play.queued({ profile: profile({ replace: true }) })
      .on(0, granted)
      .on(5, ready)
      .on(1000, exited(1, null, warm))
      .on(1001, gone(warm));
    expect(play.until(3000)).toMatchObject({ phase: 'live', session: { restarts: 1 } });
    const later = Play.queued()
      .on(0, granted)
      .on(5, ready)
      .on(2500, exited(1, null, warm));
    expect(later).toMatchObject({ phase: 'closing', reason: 'crashed' });
  });

  it.each([
    ['dies', exited(1, null, warm), false],
    ['dies', exited(1, null, warm), true],
    ['raises', says({ type: 'failed', message: 'it raised', raised: true }, warm), false],
    ['says failed', says({ type: 'failed', message: 'no voice' }, warm), false],
  ] as const)('that %s right after ready ends its session with `replace: false`, a caller or not', (_, fault, isCalled) => {
    const play = Play.queued({ profile: profile({ protocol: 'livekit', replace: false }) })
      .on(0, granted)
      .on(5, says({ type: 'ready' }, warm));
    if (isCalled) play.on(100, look(100, [participant('ann')]));
    expect(play.on(1000, fault)).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.did('spawn')).toEqual([]);
  });

  it('that dies while it is reserved is replaced by a new worker', () => {
    const play = Play.queued({ job })
      .on(0, { ...granted, assignedByMs: 3000 })
      .on(5, exited(1, null, warm));
    play.on(10, { type: 'assigned' });
    expect(play.did('assign')).toEqual([]);
    expect(play.did('spawn')).toMatchObject([{ atMs: 10, effect: { workerId: WORKER } }]);
  });
});

describe('a LiveKit agent', () => {
  const livekit = { profile: profile({ protocol: 'livekit' }) };

  it('is given its job when it registers, and again when it registers again before it took it', () => {
    const play = Play.starting(livekit).on(5, { type: 'channel', workerId: WORKER, open: true });
    expect(play.did('assign').map((one) => one.atMs)).toEqual([5]);
    play.on(10, says({ type: 'ready' }));
    expect(play.phase).toBe('live');
    play
      .on(20, { type: 'channel', workerId: WORKER, open: false })
      .on(30, { type: 'channel', workerId: WORKER, open: true });
    expect(play.did('assign')).toHaveLength(1);
  });

  it('gets TERM at once when its job is over: its main process never ends without a signal', () => {
    const play = Play.live(livekit)
      .on(1000, release)
      .on(1100, says({ type: 'closed' }));
    expect(play.ladder).toEqual(['aclose:done', 'term:…', 'remove_agent:…']);
  });

  it('that has left its room may write its notes until the bound of a wrap-up, and the room does not wait', () => {
    const play = Play.live(livekit)
      .on(100, look(100, [ann, agent]))
      .on(1000, release)
      .on(1200, look(1190, [ann]));
    expect(play.ladder).toEqual(['aclose:…', 'remove_agent:…']);
    expect(play.until(60_999).ladder[0]).toBe('aclose:…');
    expect(play.until(61_000).ladder[0]).toBe('aclose:timeout');
  });

  it.each([
    ['no release follows', null, 61_000, 'still running after 60 s (bound: wrap_up, 60 s)'],
    [
      'a second release',
      4000,
      14_000,
      'still running after 13 s (bound: ladder.aclose, 10 s from a later release or session of the room on)',
    ],
  ] as const)('that outlasts its wrap-up has the bound in its evidence: %s', (_what, secondMs, dueMs, text) => {
    const play = Play.live(livekit)
      .on(100, look(100, [agent]))
      .on(1000, release);
    if (secondMs !== null) play.on(secondMs, release);
    const { phase } = play.until(dueMs).session;
    const records = phase.name === 'closing' ? phase.ladder.records : [];
    expect(records[0]).toMatchObject({ step: 'aclose', outcome: 'timeout' });
    expect(records[0]?.detail).toContain(text);
  });

  it('that has left its room is done when the framework reports the end', () => {
    const play = Play.live(livekit)
      .on(100, look(100, [ann, agent]))
      .on(1000, release)
      .on(1200, look(1190, [ann]))
      .on(8000, says({ type: 'closed' }));
    expect(play.ladder).toEqual(['aclose:done', 'remove_agent:timeout', 'close_room:…', 'term:…']);
  });

  it('with a failed job and no caller has crashed and gets TERM at once', () => {
    const play = Play.live(livekit).on(1000, says({ type: 'failed', message: 'no voice' }));
    expect(play).toMatchObject({ phase: 'closing', reason: 'crashed' });
    expect(play.ladder).toEqual(['term:…', 'remove_agent:…']);
  });

  it('with a job that fails at aclose has ended the job', () => {
    const play = Play.live(livekit)
      .on(1000, release)
      .on(1100, says({ type: 'failed', message: 'no voice' }));
    expect(play).toMatchObject({ reason: 'requested' });
    expect(play.ladder).toEqual(['aclose:done', 'term:…', 'remove_agent:…']);
  });

  it('with a failed job is replaced while a caller is there', () => {
    const play = Play.live({ profile: profile({ protocol: 'livekit', replace: true }) }).on(
      100,
      look(100, [ann, agent]),
    );
    play.on(1000, says({ type: 'failed', message: 'no voice' }));
    expect(play.did('signal')).toMatchObject([{ effect: { signal: 'SIGTERM' } }]);
    expect(play).toMatchObject({ phase: 'live', session: { errors: { consecutive: 1 } } });
  });
});

describe('a side room', () => {
  const side = (callers: number) => ({ type: 'side_room_snapshot', callers }) as const;

  it('keeps the session in use, and a returning caller has the usual grace', () => {
    const play = Play.live()
      .on(100, look(100, [ann, agent]))
      .on(200, side(1))
      .on(1000, look(990, [agent]));
    play.on(60_000, look(59_990, [agent]));
    expect(play.phase).toBe('live');
    play.on(70_000, side(0)).on(75_000, look(74_990, [agent]));
    expect(play.phase).toBe('live');
    play.on(95_000, look(94_990, [agent]));
    expect(play).toMatchObject({ phase: 'closing', reason: 'callers_left' });
  });
});
