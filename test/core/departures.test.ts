/** Which departure decides the grace, and which room it belongs to. */
import { describe, expect, it } from 'vitest';
import type { Participant } from '../../src/core/rooms/presence.ts';
import { countSide } from '../../src/core/rooms/presence.ts';
import { agent, at, joined, left, look, Play, participant, ROOM_SID, release, roomEvent } from './support.ts';

const ann = participant('ann');

describe('only a departure of a caller decides the grace:', () => {
  it.each<[string, Participant]>([
    ['our agent', agent],
    ['another agent', participant('helper', { kind: 'agent' })],
    ['a recorder', participant('rec', { recorder: true })],
    ['a hidden one', participant('spy', { hidden: true })],
    ['egress', participant('EG_1', { kind: 'egress' })],
  ])('%s that is lost beside a hang-up does not lengthen it', (_name, other) => {
    const play = Play.live()
      .on(1000, look(1000, [agent, ann, other]))
      .on(5000, left(5000, ann, 'client_initiated'))
      .on(5100, left(5100, other, 'signal_close'));
    expect(play.on(15_100, look(15_100, [])).ending).toMatchObject({
      reason: 'callers_left',
      detail: expect.stringContaining('ann'),
    });
  });

  it('a phone counts by its earlier attributes, although it leaves as disconnected', () => {
    const phone = participant('sip', { kind: 'sip', sipCallStatus: 'active' });
    const goes = { ...phone, state: 'disconnected', sipCallStatus: 'hangup' } as const;
    const play = Play.live()
      .on(1000, look(1000, [agent, phone]))
      .on(5000, left(5000, goes, 'client_initiated'));
    expect(play.on(7100, look(7100, [agent])).ending).toMatchObject({
      reason: 'callers_left',
      cause: 'participant_left',
    });
  });
});

describe('a caller that an empty list of LiveKit had hidden', () => {
  const missed = () =>
    Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, look(5000, [agent]))
      .on(20_000, left(20_000, ann, 'connection_timeout'));

  it('has its grace from the webhook of its departure', () => {
    expect(missed().on(26_000, look(26_000, [agent])).phase).toBe('live');
    expect(missed().on(40_001, look(40_001, [agent]))).toMatchObject({
      phase: 'closing',
      reason: 'callers_left',
    });
  });

  // LiveKit gives the time of a webhook in whole seconds.
  it.each([
    ['before that poll', 4000, 'closing'],
    ['in the same second, for all that is known', 4001, 'live'],
  ])('has its grace from a late webhook that was made %s', (_name, madeMs, phase) => {
    const word = roomEvent({
      kind: 'left',
      roomSid: 'RM_1',
      participant: ann,
      reason: 'connection_timeout',
      at: { ...at(20_000), wallMs: at(madeMs).wallMs },
    });
    const play = Play.live()
      .on(1000, look(1000, [agent, ann]))
      .on(5000, look(5000, [agent]));
    expect(play.on(20_000, word).on(26_000, look(26_000, [agent])).phase).toBe(phase);
  });
});

describe('an older room of the same name', () => {
  it('that only a late webhook named leaves nothing behind', () => {
    const play = Play.live()
      .on(100, joined(100, ann, 'RM_0'))
      .on(1000, look(1000, [agent]));
    expect(play.session.presence).toMatchObject({ callersSeen: false, departures: [], roomSid: 'RM_1' });
    expect(play.on(60_000, look(60_000, [agent])).phase).toBe('live');
  });

  it('leaves nothing behind also when its webhook is newer than the snapshot', () => {
    const play = Play.live()
      .on(1000, joined(1000, ann, 'RM_0'))
      .on(1100, look(900, [agent]));
    expect(play.session.presence.participants).toEqual([agent]);
  });

  it('ends no session when it finishes', () => {
    const play = Play.live()
      .on(100, joined(100, ann, 'RM_0'))
      .on(150, roomEvent({ kind: 'finished', roomSid: 'RM_0', at: at(150) }))
      .on(1000, look(1000, [agent, ann]));
    expect(play.phase).toBe('live');
  });
});

describe('a newer room of the same name', () => {
  const newer = { roomSid: 'RM_2' };

  it('is that of a session that goes on', () => {
    const play = Play.live()
      .on(100, look(100, [agent]))
      .on(200, look(200, [agent], newer));
    expect(play.session.presence).toMatchObject({ roomSid: 'RM_2', oldSids: [ROOM_SID], roomThere: true });
  });

  it('belongs to the next session, when this one is over, and so do its callers', () => {
    const back = participant('ann');
    const play = Play.live()
      .on(100, look(100, [agent]))
      .on(200, release);
    play.on(300, look(300, [agent, back], newer));
    const { presence, spec } = play.session;
    expect(presence).toMatchObject({ roomSid: ROOM_SID, roomThere: false });
    expect(countSide(presence, spec.agentIdentity, 'caller')).toBe(0);
    // Its own agent must be removed from the newer room, too.
    expect(countSide(presence, spec.agentIdentity, 'own_agent')).toBe(1);
  });
});
