/** Participants that a profile does not count as callers. */
import { describe, expect, it } from 'vitest';
import { decideWatch } from '../../src/core/rooms/kept-room.ts';
import type { IgnoreRule, Participant } from '../../src/core/rooms/presence.ts';
import { agent, at, joined, left, look, Play, participant, profile, ROOM_SID, spec } from './support.ts';

const ignore: IgnoreRule = { identities: ['notetaker-*'], attributes: { role: 'listen*' } };
const ann = participant('ann');
const bot = participant('notetaker-7');
const listener = participant('lea', { attributes: { role: 'listener' } });
const guest = participant('gus', { attributes: { role: 'speaker' } });

const ignoring = () => Play.live(spec({ profile: profile({ ignore }) }));

describe('a profile ignores', () => {
  it.each<[string, Participant, boolean]>([
    ['an identity of its patterns', bot, true],
    ['an attribute of its patterns', listener, true],
    ['no other identity', ann, false],
    ['no other value of the attribute', guest, false],
    ['no part of an identity', participant('my-notetaker-7'), false],
  ])('%s', (_name, one, isIgnored) => {
    const play = ignoring().on(1000, look(1000, [agent, one]));
    expect(play.session.presence.callersSeen).toBe(!isIgnored);
    expect(ignoring().on(1000, joined(1000, one)).session.presence.callersSeen).toBe(!isIgnored);
  });

  it('nobody without the key', () => {
    expect(Play.live().on(1000, look(1000, [agent, bot])).session.presence.callersSeen).toBe(true);
  });
});

describe('a participant that only listens', () => {
  const lea = participant('lea', { listens: true });
  const rule: IgnoreRule = { identities: [], attributes: {}, listeners: true };
  const play = (more: Parameters<typeof profile>[0] = { ignore: rule }) =>
    Play.live(spec({ profile: profile(more) }));

  it.each<[string, Participant[]]>([
    ['beside a caller', [lea, ann]],
    ['that came first', [lea]],
  ])('keeps no session after the last caller: %s', (_when, first) => {
    const ended = play()
      .on(1000, look(1000, [agent, ...first]))
      .on(2000, joined(2000, ann))
      .on(3000, look(3000, [agent, lea, ann]))
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(15_100, look(15_100, [agent, lea]));
    expect(ended.reason).toBe('callers_left');
  });

  it('is no caller that returns', () => {
    const again = participant('lea', { listens: true, sid: 'PA_lea2' });
    const { session } = play()
      .on(1000, look(1000, [agent, lea, ann]))
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(6000, joined(6000, again))
      .on(7000, look(7000, [agent, again]));
    expect(session.presence.returnedMs).toBeUndefined();
  });

  it('keeps a session in which nobody was who may speak or write, and is gone when it leaves', () => {
    const alone = play()
      .on(1000, look(1000, [agent, lea]))
      .on(130_000, look(130_000, [agent, lea]));
    expect(alone.phase).toBe('live');
    alone.on(140_000, left(140_000, lea, 'client_initiated')).on(151_000, look(151_000, [agent]));
    expect(alone.reason).toBe('callers_left');
  });

  it('is a caller from the snapshot on in which it may speak', () => {
    const { session } = play()
      .on(1000, look(1000, [agent, lea, ann]))
      .on(5000, look(5000, [agent, participant('lea')]));
    expect(session.presence.goneSinceMs).toBeNull();
  });

  it.each([{ ignore }, {}])('is a caller for a profile without that rule', (more) => {
    const { session } = play(more)
      .on(1000, look(1000, [agent, lea, ann]))
      .on(5000, look(5000, [agent, lea]));
    expect(session.presence.goneSinceMs).toBeNull();
  });
});

describe('an ignored participant', () => {
  it('keeps no session after the last caller', () => {
    const play = ignoring()
      .on(1000, look(1000, [agent, ann, bot, listener]))
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(15_100, look(15_100, [agent, bot, listener]));
    expect(play.ending).toMatchObject({ reason: 'callers_left', detail: expect.stringContaining('ann') });
  });

  it('is not the first caller', () => {
    const play = ignoring()
      .on(1000, look(1000, [agent, bot]))
      .until(120_000);
    expect(play.on(120_100, look(120_100, [agent, bot])).reason).toBe('no_caller_joined');
  });

  it('counts by its attributes in each snapshot', () => {
    const play = ignoring().on(1000, look(1000, [agent, guest]));
    const turned = participant('gus', { attributes: { role: 'listener' } });
    play.on(5000, look(5000, [agent, turned]));
    expect(play.session.presence.goneSinceMs).toBe(5000);
  });

  it('leaves no attributes in the record', () => {
    const play = ignoring().on(1000, look(1000, [agent, listener, guest]));
    expect(JSON.stringify(play.session.presence)).not.toContain('role');
  });

  it.each([
    ['a bot', [bot], 1000],
    ['an avatar', [participant('avatar', { kind: 'agent' })], 1000],
    ['another agent', [participant('helper', { kind: 'agent', agentGrant: true })], null],
  ])('a caller of a kept room is alone, or not: %s', (_who, others, since) => {
    const watch = {
      room: { project: 'default', name: 'room' },
      roomSid: ROOM_SID,
      agentIdentity: agent.identity,
      made: true,
      since: at(0),
      aloneSinceMs: null,
      ignore,
    };
    const event = look(1000, [ann, ...others]);
    if (event.type !== 'room_snapshot') throw new Error('no snapshot');
    expect(decideWatch(watch, event.observation).watch.aloneSinceMs).toBe(since);
  });
});
