/** A caller that leaves and returns, seen by polls alone: no webhook arrives. */
import { expect, it } from 'vitest';
import { decideRejoin } from '../../src/core/rooms/rejoin.ts';
import { agent, look, Play, participant, profile, spec } from './support.ts';

const ann = participant('ann');
const POLL_MS = 5000;

const brought = () =>
  Play.live(spec({ unasked: true, profile: profile({ rejoin: 'auto' }) })).on(1000, look(1000, [agent, ann]));

function poll(play: Play, fromMs: number, toMs: number): Play {
  for (let atMs = fromMs; atMs <= toMs; atMs += POLL_MS) play.on(atMs, look(atMs, [agent]));
  return play;
}

it('a caller that polls alone show as gone has the grace of a lost connection', () => {
  expect(poll(brought(), 6000, 21_000).phase).toBe('live');
  expect(poll(brought(), 6000, 31_000).session.phase).toMatchObject({ ending: { reason: 'callers_left' } });
});

it('a caller that is back within that grace keeps its session', () => {
  const play = poll(brought(), 6000, 16_000).on(21_000, look(21_000, [agent, ann]));
  expect(play.on(60_000, look(60_000, [agent, ann])).phase).toBe('live');
});

it('a caller that returns after the session gets the next one from polls alone', () => {
  const play = poll(brought(), 6000, 31_000);
  const effect = play.did('watch_room').at(0)?.effect;
  const watch = effect?.do === 'watch_room' ? effect.watch : null;
  if (watch?.rejoin === undefined) throw new Error('the room is not watched for a return');
  const back = (atMs: number) => {
    const event = look(atMs, [ann]);
    if (event.type !== 'room_snapshot') throw new Error('not a snapshot');
    return event.observation;
  };
  const first = decideRejoin(watch, watch.rejoin, back(36_000));
  expect(first.action).toBe('poll');
  expect(decideRejoin(watch, first.rejoin, back(41_000)).action).toBe('begin');
});
