/** A passed deadline is acted on or waits for an event, so that no tick comes again and again. */
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '../../src/core/model/events.ts';
import { nextTickMs } from '../../src/core/session/deadlines.ts';
import { DEFAULT_SESSION_LIMITS } from '../../src/lib/limits/session-limits.ts';
import { agent, look, Play, participant, says, WORKER } from './support.ts';

const noRoom = { livekit: false };
const ann = participant('ann');
const keepAlive = (forMs: number): SessionEvent => ({
  type: 'keep_alive',
  forMs,
  by: { kind: 'local', name: 'x' },
});

describe('the next tick', () => {
  it('does not come for metadata that a worker without a connection cannot take', () => {
    const play = Play.live(noRoom)
      .silent()
      .on(1000, { type: 'metadata', metadata: { a: 1 } })
      .on(2000, { type: 'channel', workerId: WORKER, open: false })
      .on(6500, { type: 'tick' });
    expect(nextTickMs(play.session, 6500)).toBeGreaterThan(6500);
    play.on(7000, { type: 'channel', workerId: WORKER, open: true });
    const sent = play
      .did('tell')
      .filter(({ effect }) => effect.do === 'tell' && effect.message.type === 'configure');
    expect(sent.map(({ atMs }) => atMs)).toEqual([1000, 7000]);
  });

  it('asks for a poll when absence is due, also right after an earlier poll', () => {
    const limits = { ...DEFAULT_SESSION_LIMITS, noCallerMs: 1500 };
    const play = Play.starting({ limits });
    expect(play.did('poll_room').map(({ atMs }) => atMs)).toEqual([0]);
    play.on(1500, { type: 'tick' });
    expect(play.did('poll_room').map(({ atMs }) => atMs)).toEqual([0, 1500]);
    expect(nextTickMs(play.session, 1500)).toBeGreaterThan(1500);
  });
});

describe('an error limit', () => {
  it('that is reached while another ending is held ends the session when that ending is dropped', () => {
    const play = Play.live()
      .answering(false)
      .on(1000, look(1000, [agent, ann]))
      .on(2000, look(2000, [agent]))
      .on(22_100, look(22_100, [agent]));
    for (let atMs = 30_001; atMs <= 30_005; atMs++) play.on(atMs, says({ type: 'error', message: 'no' }));
    expect(play.phase).toBe('live');
    play
      .answering(true)
      .on(31_000, look(31_000, [agent, ann]))
      .until(31_100);
    expect(play.reason).toBe('error_limit');
  });
});

describe('a keep-alive', () => {
  it('before the session is live counts from the moment when it is live', () => {
    const play = Play.starting({ ...noRoom, idleAsked: true })
      .on(10, keepAlive(600_000))
      .on(20, { type: 'channel', workerId: WORKER, open: true })
      .on(30, says({ type: 'ready' }));
    expect(play.until(600_000).phase).toBe('live');
    expect(play.until(600_010).reason).toBe('idle_timeout');
  });
});

describe('a poll that was sent before the session was created', () => {
  it('changes nothing of its presence', () => {
    const early = look(-10, [agent, ann]);
    const play = Play.live()
      .on(10, early)
      .on(1000, look(1000, [agent]))
      .on(30_000, look(30_000, [agent]));
    expect(play).toMatchObject({ phase: 'live', session: { presence: { callersSeen: false } } });
  });
});
