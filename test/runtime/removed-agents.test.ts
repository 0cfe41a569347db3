/** The watch for removed agents, over simulated ports: its bound, its polls, its counts, and rooms of a pattern. */
import { expect, it } from 'vitest';
import type { RoomKey } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/model/session.ts';
import type { Participant, RoomSnapshot } from '../../src/core/rooms/presence.ts';
import { REMOVED } from '../../src/lib/limits/room-limits.ts';
import type { RoomStepResult, Rooms } from '../../src/ports/rooms.ts';
import { RemovedAgents } from '../../src/runtime/rooms/removed-agents.ts';
import { agent, at, look, participant } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));
const roomKey = (name: string): RoomKey => ({ project: 'default', name });

/** A session that has ended, whose agent had left the room itself or was removed. */
function ended(id: string, { room = `room-${id}`, hadLeft = false } = {}): Session {
  const session = sessionOf({ id, room, endedWallMs: at(0).wallMs });
  if (session.phase.name !== 'ended') throw new Error('it has not ended');
  const detail = hadLeft ? 'the agent was not in the room' : null;
  const removal = { step: 'remove_agent', startedAt: at(0), tookMs: 1, outcome: 'done', detail } as const;
  return {
    ...session,
    startedAt: at(0),
    endedAt: at(0),
    spec: {
      ...session.spec,
      livekit: true,
      bootId: 'b',
      soleIdentity: true,
      agentIdentity: `agent-${id}`,
    },
    phase: { ...session.phase, records: [removal] },
  };
}

function rig() {
  let nowMs = 10;
  const done: string[] = [];
  const alarms: (() => void)[] = [];
  let outcome: RoomStepResult['outcome'] = 'done';
  const rooms: Partial<Rooms> = {
    poll: ({ name }) => void done.push(`poll ${name}`),
    removeAgent: async ({ identity }) => {
      done.push(`remove ${identity}`);
      return { outcome, detail: null };
    },
    closeEmpty: async ({ roomSid }) => {
      done.push(`close ${roomSid}`);
      return { outcome: 'done', detail: null };
    },
  };
  const logged: object[] = [];
  const recorded: Session[] = [];
  const removed = new RemovedAgents({
    rooms: rooms as Rooms,
    clock: {
      now: () => at(nowMs),
      at: (_, callback) => {
        alarms.push(callback);
        return () => undefined;
      },
    },
    log: { ...SILENT, warn: (fields, message) => void logged.push({ ...fields, message }) },
    registry: { list: async () => ({ sessions: recorded, nextCursor: null }) },
    instance: { bootId: 'b' },
    isUsed: () => false,
    changed: () => undefined,
  });
  const see = async (
    room: string,
    asOfMs: number,
    who: readonly Participant[],
    more: Partial<RoomSnapshot> = {},
  ) => {
    nowMs = asOfMs;
    const event = look(asOfMs, who, more);
    const found = event.type === 'room_snapshot' ? removed.snapshot(roomKey(room), event.observation) : null;
    await settled();
    return found;
  };
  const fail = () => {
    outcome = 'timeout';
  };
  return { removed, see, done, logged, recorded, alarms, fail };
}

const back = (id: string) => ({ ...agent, identity: `agent-${id}`, joinedAtWallMs: at(5000).wallMs });

it('an agent that comes back is removed, counted and polled for, and each second return doubles the wait for a line', async () => {
  const { removed, see, done, logged, alarms } = rig();
  removed.note(ended('a'));
  expect(removed.paceOf(roomKey('room-a'))).toBe('rarely');
  for (let round = 1; round <= 8; round++) await see('room-a', round * 5000, [back('a')]);
  expect(done).toEqual(Array(8).fill('remove agent-a'));
  expect(removed.counts).toEqual({ watched: 1, dropped: 0, removedAgain: 8, roomsClosed: 0 });
  expect(logged).toMatchObject([{ times: 1 }, { times: 2 }, { times: 4 }, { times: 8 }]);
  expect(logged[0]).toMatchObject({ session: 'a' });
  expect(JSON.stringify(logged)).not.toContain('room-a');
  expect(removed.paceOf(roomKey('room-a'))).toBe('each_round');
  alarms.at(-1)?.();
  expect(done.at(-1)).toBe('poll room-a');
});

it('a removal that fails is not counted, and is tried again', async () => {
  const { removed, see, done, logged, fail } = rig();
  fail();
  removed.note(ended('a'));
  await see('room-a', 5000, [back('a')]);
  await see('room-a', 15_000, [back('a')]);
  expect(done).toEqual(['remove agent-a', 'remove agent-a']);
  expect(removed.counts.removedAgain).toBe(0);
  expect(logged[0]).toMatchObject({ outcome: 'timeout' });
});

it('a room that the agent made alone is closed after its removal', async () => {
  const { removed, see, done } = rig();
  removed.note(ended('a'));
  await see('room-a', 6000, [back('a')], { roomSid: 'RM_2', roomCreatedWallMs: at(4900).wallMs });
  expect(done).toEqual(['remove agent-a', 'close RM_2']);
  expect(removed.counts.roomsClosed).toBe(1);
});

it('a room of a pattern is held back until somebody else than a removed agent is in it', async () => {
  const { removed, see, done } = rig();
  const room = roomKey('room-a');
  expect(removed.holds(room, 'RM_2')).toBe(false);
  removed.note(ended('a'));
  expect(removed.holds(room, 'RM_2')).toBe(true);
  expect(done).toEqual(['poll room-a']);
  expect(await see('room-a', 6000, [back('a')], { roomSid: 'RM_2' })).toBeNull();
  expect(
    await see('room-a', 7000, [{ ...participant('ann'), state: 'disconnected' }], { roomSid: 'RM_2' }),
  ).toBeNull();
  expect(removed.holds(room, 'RM_2')).toBe(true);
  expect(await see('room-a', 9000, [back('a'), participant('ann')], { roomSid: 'RM_2' })).toBe('RM_2');
  expect(removed.holds(room, 'RM_2')).toBe(false);
  expect(removed.holds(room, 'RM_3')).toBe(true);
});

it('a start watches for the agents of the sessions on record, and an expired one is forgotten', async () => {
  const { removed, see, recorded } = rig();
  recorded.push(ended('a'), sessionOf({ id: 'old', endedWallMs: 1 }));
  await removed.restore();
  expect(removed.counts.watched).toBe(1);
  await see('room-a', 100 * 3_600_000, [back('a')]);
  expect(removed.counts).toMatchObject({ watched: 0, removedAgain: 0 });
  expect(removed.paceOf(roomKey('room-a'))).toBeNull();
});

it('the number of watches has a bound, and an agent that had left itself goes first', () => {
  const { removed } = rig();
  removed.note(ended('first'));
  removed.note(ended('left', { hadLeft: true }));
  for (let count = 0; count < REMOVED.most; count++) removed.note(ended(`s${count}`));
  expect(removed.counts).toMatchObject({ watched: REMOVED.most, dropped: 2 });
  expect(removed.paceOf(roomKey('room-left'))).toBeNull();
  expect(removed.paceOf(roomKey('room-first'))).toBeNull();
  expect(removed.paceOf(roomKey('room-s0'))).toBe('rarely');
});
