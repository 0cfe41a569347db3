/** TERM: the main process first, then what it left, then KILL. In a teardown and in a replacement. */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import { DEFAULT_LADDER } from '../../src/lib/limits/session-limits.ts';
import { agent, exited, gone, look, Play, participant, profile, release, says } from './support.ts';

const level0 = (ladder: Partial<typeof DEFAULT_LADDER> = {}) =>
  Play.starting({
    livekit: false,
    profile: profile({ protocol: 'none', ladder: { ...DEFAULT_LADDER, ...ladder } }),
  }).on(1000, release);
const signals = (play: Play) =>
  play
    .did('signal')
    .flatMap(({ atMs, effect }) =>
      effect.do === 'signal' ? [[atMs, effect.signal, effect.to ?? 'all']] : [],
    );
const TO_MAIN = [1000, 'SIGTERM', 'main'];

describe('TERM', () => {
  it('goes to the main process alone, and to the others 1 s before the bound', () => {
    expect(signals(level0().until(11_000))).toEqual([
      TO_MAIN,
      [10_000, 'SIGTERM', 'all'],
      [11_000, 'SIGKILL', 'all'],
    ]);
  });

  it('goes to what a main process left as soon as it is gone, with the rest of the bound', () => {
    const play = level0().on(4000, exited(0)).until(11_000);
    expect(signals(play)).toEqual([TO_MAIN, [4000, 'SIGTERM', 'all'], [11_000, 'SIGKILL', 'all']]);
    expect(play.ladder).toEqual(['term:timeout', 'kill:…']);
  });

  it('leaves what a late main process left at least its last second', () => {
    const play = level0().on(10_500, exited(0));
    expect(play.until(10_999).did('signal')).toHaveLength(2);
    expect(signals(play.until(11_000)).at(-1)).toEqual([11_000, 'SIGKILL', 'all']);
  });

  it('is one step with one record when the tree ends in order', () => {
    expect(level0().on(2000, exited(0)).on(2010, gone()).ladder).toEqual(['term:exited']);
  });

  it('halves a bound that is shorter than 2 s', () => {
    expect(signals(level0({ termMs: 400 }).until(1400))).toEqual([
      TO_MAIN,
      [1200, 'SIGTERM', 'all'],
      [1400, 'SIGKILL', 'all'],
    ]);
  });

  it('goes to every process at once with ladder.signal: all', () => {
    expect(signals(level0({ signal: 'all' }).until(11_000))).toEqual([
      [1000, 'SIGTERM', 'all'],
      [11_000, 'SIGKILL', 'all'],
    ]);
  });
});

describe('TERM in a replacement', () => {
  const failing = () =>
    Play.live({ profile: profile({ replace: true }) })
      .on(100, look(100, [participant('ann'), agent]))
      .on(1000, says({ type: 'failed', message: 'no voice' }));

  it('goes to the main process alone, then to the others, then KILL', () => {
    expect(signals(failing().until(11_000))).toEqual([
      TO_MAIN,
      [10_000, 'SIGTERM', 'all'],
      [11_000, 'SIGKILL', 'all'],
    ]);
  });

  it('goes to what the old main process left, and then the next worker starts', () => {
    const play = failing().on(2000, exited(0)).on(2500, gone());
    expect(signals(play)).toEqual([TO_MAIN, [2000, 'SIGTERM', 'all']]);
    expect(play.until(4000).did('spawn')).toHaveLength(2);
  });

  it('is one step for 0.1.0 on disk, and both parts come back', () => {
    const recorded = (session: Session) => JSON.parse(JSON.stringify(toRecord(session)));
    for (const { session } of [level0().until(10_000), failing().until(10_000)]) {
      expect(JSON.stringify(session.phase)).toContain('term_rest');
      expect(JSON.stringify(recorded(session))).not.toContain('term_rest');
      expect(fromRecord(recorded(session)).phase).toEqual(session.phase);
    }
  });
});
