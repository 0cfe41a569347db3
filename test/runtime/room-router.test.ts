/** Kept rooms and refused calls, over simulated ports. */

import { expect, it } from 'vitest';
import { createClock } from '../../src/adapters/telemetry/boot-clock.ts';
import type { SessionId } from '../../src/core/ids.ts';
import type { RoomWatch } from '../../src/core/rooms/kept-room.ts';
import type { Registry } from '../../src/ports/registry.ts';
import type { Rooms } from '../../src/ports/rooms.ts';
import { RoomRouter } from '../../src/runtime/rooms/room-router.ts';
import { at, look, participant } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

it('all kept rooms are written into a new database', async () => {
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
  const deps = {
    rooms: rooms as Rooms,
    registry: registry as Registry,
    log: SILENT,
    clock: createClock(),
    instance: { bootId: 'b' },
  };
  const router = new RoomRouter(deps, {
    post: () => undefined,
    postAll: () => undefined,
    state: () => null,
  });
  await router.start();
  router.watches.recordAll();
  expect(saved).toEqual(watches);
});

it('a kept room is closed at the next snapshot when its close failed', async () => {
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
    deleteWatch: async (one) => void deleted.push(one.room.name),
  };
  const router = new RoomRouter(
    {
      rooms: rooms as Rooms,
      registry: registry as Registry,
      log: SILENT,
      clock: createClock(),
      instance: { bootId: 'b' },
    },
    { post: () => undefined, postAll: () => undefined, state: () => null },
  );
  const poll = async (asOfMs: number) => {
    const event = look(asOfMs, [participant('ann')]);
    if (event.type === 'room_snapshot') router.snapshot(room, event.observation);
    await settled();
  };
  router.watches.watch(watch);
  await poll(100);
  await poll(30_000);
  expect([closed, deleted]).toEqual([['RM_1'], []]);
  expect(router.watches.isWatched(room, 'RM_1')).toBe(true);
  await poll(31_000);
  await poll(32_000);
  expect([closed, deleted]).toEqual([['RM_1', 'RM_1'], ['r']]);
});

it('a phone is hung up on when its accepted call expired, although the session is still known', async () => {
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
  const deps = {
    rooms: rooms as Rooms,
    registry: {} as Registry,
    log: SILENT,
    clock: createClock(),
    instance: { bootId: 'b' },
  };
  const router = new RoomRouter(deps, {
    post: () => undefined,
    postAll: () => undefined,
    state: () => null,
  });
  const session = sessionOf({ id: 's-1', room: 'r' });
  const { room, id } = session.spec;
  const phone = participant('+49', { kind: 'sip', sipCallStatus: 'active' });
  const poll = (asOfMs: number) => {
    const event = look(asOfMs, [phone]);
    if (event.type === 'room_snapshot') router.snapshot(room, event.observation);
  };
  router.follow(session);
  router.refused(room, { at: at(0), by: 'another' as SessionId, ownJob: null, ignore: undefined });
  router.refused(room, { at: at(0), by: id, ownJob: 'AJ_1', ignore: undefined });
  poll(100);
  poll(10_000);
  await settled();
  // The first close timed out, so the next snapshot starts another.
  poll(11_000);
  await settled();
  poll(12_000);
  expect(closed).toEqual(['r AJ_1', 'r AJ_1']);
});
