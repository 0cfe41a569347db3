/** Kept rooms and the database. */
import { expect, it } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { RoomWatch } from '../../src/core/rooms/kept-room.ts';
import type { Registry } from '../../src/ports/registry.ts';
import type { Rooms } from '../../src/ports/rooms.ts';
import { RoomRouter } from '../../src/runtime/rooms/room-router.ts';
import { at, look, participant } from '../core/support.ts';
import { SILENT } from '../support/log.ts';
import { sessionOf } from '../support/sessions.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

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
  const deps = { rooms: rooms as Rooms, registry: registry as Registry, log: SILENT };
  const desk = new RoomRouter(deps, {
    post: () => undefined,
    postAll: () => undefined,
  });
  await desk.start();
  desk.recordAll();
  expect(saved).toEqual(watches);
});

it('a kept room whose close failed is closed with the next look', async () => {
  const closed: string[] = [];
  const deleted: string[] = [];
  const room = { project: 'default', name: 'r' };
  const watch: RoomWatch = {
    room,
    roomSid: 'RM_1',
    agentIdentity: 'agent',
    made: true,
    since: at(0),
    aloneSinceMs: null,
  };
  const rooms: Partial<Rooms> = {
    follow: () => undefined,
    unfollow: () => undefined,
    closeRoom: async ({ roomSid }) => {
      closed.push(roomSid ?? '');
      return { outcome: closed.length === 1 ? 'timeout' : 'done', detail: null };
    },
  };
  const registry: Partial<Registry> = {
    saveWatch: async () => undefined,
    deleteWatch: async ({ name }) => void deleted.push(name),
  };
  const desk = new RoomRouter(
    { rooms: rooms as Rooms, registry: registry as Registry, log: SILENT },
    { post: () => undefined, postAll: () => undefined },
  );
  const seen = async (asOfMs: number) => {
    const event = look(asOfMs, [participant('ann')]);
    if (event.type === 'room_snapshot') desk.snapshot(room, event.observation);
    await settled();
  };
  desk.watch(watch);
  await seen(100);
  await seen(30_000);
  expect([closed, deleted]).toEqual([['RM_1'], []]);
  expect(desk.isWatched(room, 'RM_1')).toBe(true);
  await seen(31_000);
  await seen(32_000);
  expect([closed, deleted]).toEqual([['RM_1', 'RM_1'], ['r']]);
});

it('a phone whose call was accepted and expired is hung up on, though its session is still known', async () => {
  const closed: string[] = [];
  const rooms: Partial<Rooms> = {
    follow: () => undefined,
    unfollow: () => undefined,
    poll: () => undefined,
    closeRefused: async ({ room, ownJob }) => {
      closed.push(`${room.name} ${ownJob}`);
      return { outcome: closed.length === 1 ? 'timeout' : 'done', detail: null };
    },
  };
  const deps = { rooms: rooms as Rooms, registry: {} as Registry, log: SILENT };
  const desk = new RoomRouter(deps, {
    post: () => undefined,
    postAll: () => undefined,
  });
  const session = sessionOf({ id: 's-1', room: 'r' });
  const { room, id } = session.spec;
  const phone = participant('+49', { kind: 'sip', sipCallStatus: 'active' });
  const seen = (asOfMs: number) => {
    const event = look(asOfMs, [phone]);
    if (event.type === 'room_snapshot') desk.snapshot(room, event.observation);
  };
  desk.follow(session);
  desk.refused(room, { at: at(0), by: 'another' as SessionId, ownJob: null });
  desk.refused(room, { at: at(0), by: id, ownJob: 'AJ_1' });
  seen(100);
  seen(10_000);
  await settled();
  // It did not answer: the next look asks again.
  seen(11_000);
  await settled();
  seen(12_000);
  expect(closed).toEqual(['r AJ_1', 'r AJ_1']);
});
