/** An agent that was removed at the end of its session and comes back with its token: its watch, its removal and its room. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Session, SessionSpec } from '../../src/core/model/session.ts';
import type { SessionRecord } from '../../src/core/model/session-record.ts';
import { fromRecord, toRecord } from '../../src/core/model/session-record.ts';
import type { Participant, RoomSnapshot } from '../../src/core/rooms/presence.ts';
import type { RemovedAgent } from '../../src/core/rooms/removed-agent.ts';
import { decideRemoved, firstToGo, mergeRemoved, quietMsAfter } from '../../src/core/rooms/removed-agent.ts';
import { isAgentRemoved, removedAgentOf } from '../../src/core/teardown/removal.ts';
import {
  AGENT,
  agent,
  at,
  exited,
  gone,
  look,
  Play,
  participant,
  profile,
  ROOM_SID,
  release,
  spec,
} from './support.ts';

const MINUTE_MS = 60_000;
const BOOT = { bootId: 'boot-1' };
const ann = participant('ann');

function snapshot(
  asOfMs: number,
  who: readonly Participant[],
  more: Partial<RoomSnapshot> = {},
): RoomSnapshot {
  const event = look(asOfMs, who, more);
  if (event.type !== 'room_snapshot') throw new Error('not a snapshot');
  return event.observation;
}

/** A session that was released after 10 s. Its agent was removed as the outcome says. */
function ended(more: Partial<SessionSpec> = {}, outcome: 'done' | 'timeout' | 'skipped' = 'done'): Session {
  return Play.live(spec({ soleIdentity: true, bootId: 'boot-1', ...more }))
    .on(1000, look(1000, [agent, ann]))
    .on(10_000, release)
    .on(10_100, gone())
    .on(10_200, { type: 'room_step', step: 'remove_agent', outcome, detail: null })
    .on(10_300, look(10_250, []))
    .on(10_400, { type: 'room_step', step: 'close_room', outcome: 'done', detail: null }).session;
}

const noted = (session: Session, nowMs = 11_000): RemovedAgent => {
  const one = removedAgentOf(session, { now: at(nowMs), ...BOOT });
  if (one === null) throw new Error('the agent is not watched for');
  return one;
};

describe('an agent is watched for', () => {
  it('from its removal until its token has expired', () => {
    const session = ended();
    const { startTimeoutMs, maxDurationMs } = session.spec.limits;
    const one = noted(session);
    const tokenEndsMs = startTimeoutMs + maxDurationMs + 10 * MINUTE_MS;
    expect(one).toMatchObject({ identity: AGENT, session: 's1', roomSids: [ROOM_SID], hadLeft: false });
    expect(one.endsAtMs).toBeGreaterThanOrEqual(tokenEndsMs + MINUTE_MS);
    expect(one.endsAtMs).toBeLessThan(tokenEndsMs + 3 * MINUTE_MS);
    expect(removedAgentOf(session, { now: at(one.endsAtMs), ...BOOT })).toBeNull();
  });

  it('only after its session: the agent of a replacement, with the same identity, is never removed', () => {
    const replace = profile({ replace: true });
    const play = Play.live(spec({ soleIdentity: true, bootId: 'boot-1', profile: replace }))
      .on(1000, look(1000, [agent, ann]))
      .on(2000, exited(null, 'SIGSEGV'))
      .on(2100, gone())
      .until(5000);
    const isWatched = () => removedAgentOf(play.session, { now: at(6000), ...BOOT }) !== null;
    expect([play.session.restarts, isAgentRemoved(play.session), isWatched()]).toEqual([1, false, false]);
    play.on(6000, look(6000, [{ ...agent, sid: 'PA_second' }, ann]));
    expect([play.did('remove_agent'), isWatched()]).toEqual([[], false]);
    play
      .on(10_000, release)
      .on(10_100, gone(workerId('s1.2')))
      .on(10_200, { type: 'room_step', step: 'remove_agent', outcome: 'done', detail: null });
    expect([play.did('remove_agent').length, isWatched()]).toEqual([1, true]);
  });

  it('also when its record was read from the disk after a reboot', () => {
    const record = JSON.parse(JSON.stringify(toRecord(ended()))) as SessionRecord;
    const now = { bootMs: 500, wallMs: at(70_000).wallMs };
    const one = removedAgentOf(fromRecord(record), { now, bootId: 'boot-2' });
    expect(one?.endsAtMs).toBe(noted(ended()).endsAtMs - 69_500);
  });

  it('also when LiveKit did not answer its removal', () => {
    expect(noted(ended({}, 'timeout'))).toMatchObject({ hadLeft: false });
  });

  it.each<[string, Partial<SessionSpec>, 'done' | 'skipped']>([
    ['not when a person had its identity', {}, 'skipped'],
    ['not without LiveKit', { livekit: false }, 'done'],
    ['not when agents of other sessions share its identity', { soleIdentity: undefined }, 'done'],
    ['not when it chose its identity', { ownIdentity: 'agent-own' }, 'done'],
  ] as never)('%s', (_, more, outcome) => {
    expect(removedAgentOf(ended(more, outcome), { now: at(11_000), ...BOOT })).toBeNull();
  });

  it('not before its removal is over', () => {
    const closing = Play.live(spec({ soleIdentity: true }))
      .on(1000, look(1000, [agent, ann]))
      .on(10_000, release)
      .on(10_100, gone()).session;
    expect(isAgentRemoved(closing)).toBe(false);
    expect(isAgentRemoved(ended())).toBe(true);
  });
});

describe('a snapshot decides', () => {
  const one = noted(ended());
  const back = { ...agent, joinedAtWallMs: at(20_000).wallMs };
  const anew = { roomSid: 'RM_2', roomCreatedWallMs: at(19_500).wallMs };

  it.each<[string, RoomSnapshot, boolean, string]>([
    ['the agent that came back is removed', snapshot(20_000, [back, ann]), false, 'remove'],
    ['also beside a later session', snapshot(20_000, [back, ann]), true, 'remove'],
    ['an older snapshot shows the agent before its removal', snapshot(10_900, [agent]), false, 'wait'],
    ['a person with the identity stays', snapshot(20_000, [participant(AGENT)]), false, 'wait'],
    [
      'an agent that is leaving has left',
      snapshot(20_000, [{ ...back, state: 'disconnected' }]),
      false,
      'wait',
    ],
    ['nobody is there', snapshot(20_000, []), false, 'wait'],
    ['after the end of its token nobody is watched for', snapshot(one.endsAtMs, [back]), false, 'forget'],
  ])('%s', (_, seen, isUsed, action) => {
    expect(decideRemoved(one, seen, isUsed).action).toBe(action);
  });

  it('each return brings a token of LiveKit, so the watch lasts longer than that token', () => {
    const lateMs = one.endsAtMs - 1000;
    const { agent: next } = decideRemoved(one, snapshot(lateMs, [back]), false);
    expect(next.endsAtMs).toBe(lateMs + 11 * MINUTE_MS);
  });

  /** The agent is seen alone, and removed. What follows from the next snapshot? */
  const then = (first: RoomSnapshot, second: RoomSnapshot, isUsed = false) => {
    const { agent: next, action } = decideRemoved(one, first, false);
    expect(action).toBe('remove');
    return decideRemoved(next, second, isUsed).action;
  };

  it.each<[string, RoomSnapshot, RoomSnapshot, boolean, string]>([
    [
      'a room that the agent made alone is closed when it is empty',
      snapshot(20_000, [back], anew),
      snapshot(22_000, [], anew),
      false,
      'close',
    ],
    ['a caller keeps the room', snapshot(20_000, [back], anew), snapshot(22_000, [ann], anew), false, 'wait'],
    [
      'a caller beside the agent keeps the room',
      snapshot(20_000, [back, ann], anew),
      snapshot(22_000, [], anew),
      false,
      'wait',
    ],
    [
      'a session of the room keeps it',
      snapshot(20_000, [back], anew),
      snapshot(22_000, [], anew),
      true,
      'wait',
    ],
    [
      'another room of the name stays',
      snapshot(20_000, [back], anew),
      snapshot(22_000, [], { roomSid: 'RM_3' }),
      false,
      'wait',
    ],
    ['the room of the session stays', snapshot(20_000, [back]), snapshot(22_000, []), false, 'wait'],
    [
      'a room that a program made in advance stays',
      snapshot(20_000, [back], { ...anew, roomCreatedWallMs: at(12_000).wallMs }),
      snapshot(22_000, [], anew),
      false,
      'wait',
    ],
    [
      'an agent that came back twice into its own room is removed twice',
      snapshot(20_000, [back], anew),
      snapshot(22_000, [{ ...back, sid: 'PA_2', joinedAtWallMs: at(21_900).wallMs }], anew),
      false,
      'remove',
    ],
  ])('%s', (_, first, second, isUsed, action) => {
    expect(then(first, second, isUsed)).toBe(action);
  });
});

describe('many watches', () => {
  const one = noted(ended());

  it('the wait between two removals grows to a bound', () => {
    expect([0, 1, 2, 5000].map(quietMsAfter)).toEqual([1000, 2000, 2000, 2000]);
  });

  it('an agent that had left itself goes first, one that came back goes last', () => {
    const left = { ...one, hadLeft: true };
    expect(firstToGo([one, left])).toBe(left);
    expect(firstToGo([{ ...left, times: 1 }, one])).toMatchObject({ times: 1 });
    expect(firstToGo([])).toBeUndefined();
  });

  it('two watches of one agent are one, with the later end and the rooms of both', () => {
    const older = { ...one, endsAtMs: one.endsAtMs + 5, roomSids: ['RM_0'], times: 3 };
    expect(mergeRemoved(older, one)).toMatchObject({
      endsAtMs: one.endsAtMs + 5,
      roomSids: [ROOM_SID, 'RM_0'],
      times: 3,
    });
  });
});
