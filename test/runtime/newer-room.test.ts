/** A new room with the name of an older one, whose session still ends. It gets its session as soon as the claim is free. */
import { expect, it } from 'vitest';
import type { Session } from '../../src/core/model/session.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import type { RoomSourceOptions } from '../../src/runtime/dispatch/room-source.ts';
import { RoomSource } from '../../src/runtime/dispatch/room-source.ts';
import { agent, look, Play, profile, ROOM_SID } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** How often curfew asked for a session of the room, while another session holds the claim. */
async function dispatches(holder: Session, roomSid: string): Promise<number> {
  let asked = 0;
  const { id, room } = holder.spec;
  const source = new RoomSource({
    deps: {
      log: SILENT,
      agents: ['default'],
      profileOf: () => profile({ rooms: '*' }),
      registry: { list: async () => ({ sessions: [], nextCursor: null }) },
    },
    sessions: { all: () => [holder], state: () => holder },
    roomRouter: null,
    dispatcher: {
      dispatch: async () => {
        asked += 1;
        throw new CurfewError('room_taken', 'taken', { holder: id });
      },
    },
    onRefused: () => undefined,
  } as unknown as RoomSourceOptions);
  for (let poll = 0; poll < 3; poll += 1) {
    source.found(room, roomSid);
    await settled();
  }
  return asked;
}

it('a room is asked for at each poll while the session of an older room has the claim', async () => {
  const older = Play.live().on(100, look(100, [agent])).session;
  expect(await dispatches(older, 'RM_2')).toBe(3);
});

it('a room is asked for once when a session that waits for the room has the claim, and never when the session is in it', async () => {
  expect(await dispatches(Play.live().session, ROOM_SID)).toBe(1);
  expect(await dispatches(Play.live().on(100, look(100, [agent])).session, ROOM_SID)).toBe(0);
});
