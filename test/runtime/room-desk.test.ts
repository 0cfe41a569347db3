/** Kept rooms and the database. */
import { expect, it } from 'vitest';
import type { RoomWatch } from '../../src/core/watch.ts';
import type { Log, Registry, Rooms } from '../../src/ports.ts';
import { RoomDesk } from '../../src/runtime/room-desk.ts';

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

it('kept rooms are written into a database that knows none of them', async () => {
  const watches = ['a', 'b'].map(
    (name): RoomWatch => ({
      room: { project: 'default', name },
      roomSid: 'RM_1',
      agentIdentity: 'agent',
      made: true,
      since: { bootMs: 1, wallMs: 2 },
      aloneSinceMs: null,
    }),
  );
  const saved: RoomWatch[] = [];
  const registry: Partial<Registry> = {
    watches: async () => watches,
    saveWatch: async (watch) => void saved.push(watch),
  };
  const rooms: Partial<Rooms> = { follow: () => undefined, start: () => undefined };
  const deps = { rooms: rooms as Rooms, registry: registry as Registry, log: silent };
  const desk = new RoomDesk(deps, {
    tell: () => undefined,
    tellAll: () => undefined,
    found: () => undefined,
  });
  await desk.start();
  desk.recordAll();
  expect(saved).toEqual(watches);
});
