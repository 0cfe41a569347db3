/** The replacement of a worker: one at a time, and events of the old worker end nothing. */
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '../../src/core/model/events.ts';
import { decide } from '../../src/core/session/decide.ts';
import {
  agent,
  at,
  exited,
  gone,
  left,
  look,
  Play,
  PROCESS,
  participant,
  profile,
  release,
  says,
  WORKER,
} from './support.ts';

const ann = participant('ann');
const second = 's1.2' as typeof WORKER;
const replaced = profile({ replace: true });
const up = () => Play.live({ profile: replaced }).on(1000, look(1000, [agent, ann]));
/** Its first worker crashed at 2 s; the spawn of the second is under way since about 2.5 s. */
const respawning = () => up().on(2000, exited(1)).on(2001, gone()).until(3000);

describe('a replacement during its spawn', () => {
  it('is waited for when it misses its start, and the third worker starts only when it is gone', () => {
    const play = respawning().until(43_000);
    expect(play.ending).toMatchObject({ reason: 'start_timeout', cause: 'deadline:spawn' });
    expect(play.until(100_000).did('spawn')).toHaveLength(2);
  });

  it('is ended as soon as it runs, and then replaced', () => {
    const play = respawning().until(33_000);
    play.on(33_500, { type: 'spawned', workerId: second, process: PROCESS });
    expect(play.did('signal').at(-1)).toMatchObject({ atMs: 33_500, effect: { workerId: second } });
    expect(play.until(35_000).did('spawn')).toHaveLength(2);
    expect(play.on(35_000, gone(second)).did('spawn').at(-1)).toMatchObject({ effect: { attempt: 3 } });
  });

  it('is not scanned again when its spawn is reported after its exit', () => {
    const play = respawning()
      .on(3000, exited(1, null, second))
      .on(3010, { type: 'tree', workerId: second, left: 1 })
      .until(13_100);
    expect(play.did('signal').at(-1)).toMatchObject({ effect: { signal: 'SIGKILL' } });
    const before = play.did('signal').length;
    play.on(13_200, { type: 'spawned', workerId: second, process: PROCESS });
    expect(play.did('signal')).toHaveLength(before);
  });

  it('is replaced too when it fails after it missed its start', () => {
    const play = respawning()
      .until(33_000)
      .on(33_500, { type: 'spawn_failed', workerId: second, detail: 'no' });
    expect(play.until(40_000).did('spawn').at(-1)).toMatchObject({ effect: { attempt: 3 } });
    expect(play.session.errors.total).toBe(2);
  });
});

describe('a replacement that cannot be recorded', () => {
  const unrecorded = (play: Play) => {
    const workerId = play.worker?.id ?? second;
    return play.on(play.nowMs + 10, {
      type: 'spawn_failed',
      workerId,
      detail: 'the start could not be recorded: the disk is full',
      isUnrecorded: true,
    });
  };

  it('is tried again until it is on record, and counts as no error and as no restart', () => {
    const play = respawning();
    const { errors, restarts } = play.session;
    for (let times = 0; times < 8; times += 1) unrecorded(play).until(play.nowMs + 6_000);
    expect(play.phase).toBe('live');
    expect(play.session.errors.total).toBe(errors.total);
    expect(play.session.restarts).toBe(restarts);
    const spawned = play.did('spawn').map(({ effect }) => ('workerId' in effect ? effect.workerId : null));
    expect([spawned.length, ...new Set(spawned)]).toEqual([10, 's1.1', second]);
  });

  it('waits between two tries', () => {
    const play = unrecorded(respawning());
    const begunMs = play.nowMs;
    expect(play.until(begunMs + 4_900).did('spawn')).toHaveLength(2);
    expect(play.until(begunMs + 5_100).did('spawn')).toHaveLength(3);
  });

  it('is not tried again when the callers have left meanwhile', () => {
    const play = unrecorded(respawning()).on(4_000, left(4_000, ann, 'client_initiated'));
    for (let atMs = 5_000; atMs < 20_000; atMs += 1000) play.on(atMs, look(atMs, []));
    expect(play.reason).toBe('callers_left');
  });
});

describe('the old worker', () => {
  /** Its agent is missed from 2 s, so it gets TERM at about 17 s. */
  const ending = () =>
    up()
      .on(2000, look(2000, [ann]))
      .on(10_000, look(10_000, [ann]))
      .on(17_100, look(17_100, [ann]));

  it('may say closed during its replacement', () => {
    const play = ending();
    expect(play.session.phase).toMatchObject({ name: 'live', work: { kind: 'replacing' } });
    expect(play.on(17_200, says({ type: 'closed' })).phase).toBe('live');
    expect(play.on(17_300, gone()).until(19_000).did('spawn')).toHaveLength(2);
  });

  it('may report errors during its replacement, and they end nothing', () => {
    const play = ending();
    const { consecutive } = play.session.errors;
    for (let n = 0; n < 5; n++) play.on(17_200 + n, says({ type: 'error', message: 'closing' }));
    expect(play.session.errors).toMatchObject({ consecutive });
    expect(play.on(17_300, gone()).until(20_000)).toMatchObject({ phase: 'live' });
  });

  it('that was killed is killed again by the next supervisor before any scan', () => {
    const play = ending().until(17_150 + 10_000 + 2_000);
    expect(play.session.phase).toMatchObject({ work: { old: { step: 'confirm' } } });
    const looks = play.did('reap').length;
    play.on(30_000, { type: 'gap', gapMs: 0 });
    expect(play.did('signal').at(-1)).toMatchObject({ atMs: 30_000, effect: { signal: 'SIGKILL' } });
    expect(play.did('reap')).toHaveLength(looks);
    expect(play.on(30_100, gone()).until(32_000).did('spawn')).toHaveLength(2);
  });

  it('resets no error count when it says ok during its replacement', () => {
    const play = ending();
    const { consecutive } = play.session.errors;
    expect(consecutive).toBeGreaterThan(0);
    expect(play.on(17_200, says({ type: 'ok' })).session.errors).toMatchObject({ consecutive });
  });
});

describe('the agent of a replacement', () => {
  const running = (readyMs: number) =>
    respawning()
      .on(3000, { type: 'spawned', workerId: second, process: PROCESS })
      .on(4000, { type: 'channel', workerId: second, open: true })
      .on(5000, look(5000, [ann]))
      .on(15_000, look(15_000, [ann]))
      .on(readyMs, says({ type: 'ready' }, second));

  it('has its own time to join, counted from its start', () => {
    const play = running(25_000).on(25_100, look(25_050, [ann]));
    expect(play.session.phase).toMatchObject({ work: { kind: 'running', worker: { id: second } } });
    play.on(40_000, look(40_000, [ann]));
    expect(play.session.phase).toMatchObject({ work: { kind: 'replacing' } });
  });

  it('does not count as left because the agent of the old worker left', () => {
    const none = profile({ replace: true, protocol: 'none' });
    const play = Play.starting({ profile: none })
      .on(1000, look(1000, [agent, ann]))
      .on(2000, exited(1))
      .on(2050, left(2050, agent, 'client_initiated'))
      .on(2060, gone())
      .until(2900)
      .on(2900, { type: 'spawned', workerId: second, process: PROCESS })
      .on(4500, look(4500, [ann]));
    expect(play.phase).toBe('live');
  });

  it('may be over its memory limit in one sample, whatever the samples of the old worker showed', () => {
    const limited = profile({ replace: true, memoryBytes: 1000 });
    const sample = (workerId: typeof WORKER): SessionEvent => ({
      type: 'resources',
      workerId,
      memory: { bytes: 1001, measure: 'pss' },
      cpuPercent: 1,
    });
    const play = Play.live({ profile: limited })
      .on(1000, look(1000, [agent, ann]))
      .on(1500, sample(WORKER))
      .on(2000, exited(1))
      .on(2001, gone())
      .on(3000, { type: 'spawned', workerId: second, process: PROCESS })
      .on(3100, says({ type: 'ready' }, second))
      .on(6000, sample(second));
    expect(play.session.phase).toMatchObject({ work: { kind: 'running', worker: { id: second } } });
    expect(play.on(11_000, sample(second)).session.phase).toMatchObject({ work: { kind: 'replacing' } });
  });

  it('does not count as left by a late webhook about the old agent', () => {
    const play = running(5000).on(6000, look(6000, [agent, ann]));
    expect(
      play.on(7000, left(7000, { ...agent, sid: 'PA_old' }, 'client_initiated')).until(20_000).phase,
    ).toBe('live');
  });
});

describe('a crash after the last poll', () => {
  const alone = () => Play.live({ profile: replaced }).on(1000, look(1000, [agent]));
  const crashed = () => alone().on(2000, exited(1)).on(2001, gone());

  it('asks for a new poll, and starts no worker before it answers', () => {
    const play = crashed();
    expect(play.did('poll_room').at(-1)).toMatchObject({ atMs: 2000 });
    expect(play.until(6900).did('spawn')).toHaveLength(1);
  });

  it.each([2200, 4000])('replaces the worker when the poll shows a caller (%i ms)', (atMs) => {
    const play = crashed()
      .until(atMs)
      .on(atMs, look(2100, [ann]))
      .until(5000);
    expect(play.did('spawn')).toHaveLength(2);
  });

  it('ends the session when the poll shows no caller', () => {
    const play = crashed().on(2100, look(2050, []));
    expect(play.ending).toMatchObject({ reason: 'crashed' });
    expect(play.worker).toMatchObject({ attempt: 1, exit: { code: 1 } });
    expect(play.until(60_000).did('spawn')).toHaveLength(1);
  });

  it('is not decided by an older poll', () => {
    const play = crashed().on(2100, look(1900, [agent]));
    expect(play.phase).toBe('live');
    expect(play.until(8000).ending).toMatchObject({ reason: 'crashed' });
  });

  it('ends the session when the poll does not answer', () => {
    expect(crashed().until(7100).ending).toMatchObject({ reason: 'crashed' });
  });

  /** The next supervisor decides the gap before any deadline. */
  const resumed = (play: Play, nowMs: number) => {
    play.nowMs = nowMs;
    const { state, effects } = decide(play.session, { type: 'gap', gapMs: 0 }, at(nowMs));
    play.session = state;
    return effects;
  };

  it('asks again after a time in which no supervisor ran, because the answer went to nobody', () => {
    const play = crashed();
    expect(resumed(play, 60_000)).toContainEqual({ do: 'poll_room' });
    expect(play.until(64_000).phase).toBe('live');
    expect(
      play
        .on(64_000, look(63_900, [ann]))
        .until(64_100)
        .did('spawn'),
    ).toHaveLength(2);
  });

  it('asks again while the old worker still ends', () => {
    const play = alone().on(2000, exited(1));
    expect(resumed(play, 60_000)).toContainEqual({ do: 'poll_room' });
    expect(play.on(60_100, gone()).until(64_000).phase).toBe('live');
  });

  it('ends the session when the poll after such a time does not answer either', () => {
    const play = crashed();
    resumed(play, 60_000);
    expect(play.until(65_100).reason).toBe('crashed');
  });
});

describe('a warm worker in place of a replacement', () => {
  const WARM = 'warm-7.1' as typeof WORKER;
  const taken: SessionEvent = {
    type: 'warm_taken',
    workerId: second,
    warm: { id: WARM, process: PROCESS },
  };
  const livekit = profile({ replace: true, protocol: 'livekit' });
  const workerOf = ({ session: { phase } }: Play) =>
    phase.name === 'live' && phase.work.kind === 'running' ? phase.work.worker : null;

  it('runs already and gets the room of the session at once', () => {
    const play = respawning().on(3000, taken);
    expect(workerOf(play)).toMatchObject({ id: WARM, attempt: 2, stage: 'running', warm: 'sound' });
    expect(play.did('assign')).toMatchObject([{ atMs: 3000, effect: { workerId: WARM } }]);
    expect(play.session).toMatchObject({ restarts: 1, warmLater: [{ attempt: 2, worker: WARM }] });
  });

  it('of a LiveKit agent is welcomed to its session, too', () => {
    const play = Play.live({ profile: livekit }).on(1000, look(1000, [agent, ann]));
    play.on(2000, exited(1)).on(2001, gone()).until(3000).on(3000, taken);
    expect(play.did('tell').at(-1)).toMatchObject({
      effect: { workerId: WARM, message: { type: 'welcome', job: { attempt: 2 } } },
    });
  });

  it('must be ready in time as any other', () => {
    const play = respawning().on(3000, taken);
    expect(play.until(34_000).did('signal').at(-1)).toMatchObject({ effect: { workerId: WARM } });
  });

  it('is replaced by the third worker when it crashes', () => {
    const play = respawning()
      .on(3000, taken)
      .on(3100, exited(1, null, WARM))
      .on(3101, gone(WARM));
    expect(play.until(6000).did('spawn').at(-1)).toMatchObject({ effect: { workerId: 's1.3', attempt: 3 } });
  });

  it.each<[string, (play: Play) => Play]>([
    ['runs already', (play) => play.on(2990, { type: 'spawned', workerId: second, process: PROCESS })],
    ['has missed its start', (play) => play.until(33_000)],
    ['belongs to a session that ends', (play) => play.on(2990, release)],
  ])('is not taken when the replacement %s', (_why, before) => {
    const play = before(respawning()).on(34_000, taken);
    expect(play.did('assign')).toEqual([]);
    expect(play.session.warmLater).toBeUndefined();
  });
});
