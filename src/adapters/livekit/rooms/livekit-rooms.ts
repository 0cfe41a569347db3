/** The Rooms port with a LiveKit server. */
import type { Effect } from '../../../core/model/effects.ts';
import type { LiveKitKeys } from '../../../core/model/profile.ts';
import { isThere } from '../../../core/rooms/removed-agent.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { RefusedRoom, RoomStepResult, Rooms, RoomsListener } from '../../../ports/rooms.ts';
import { describeFailure, isTimeout } from './request-failure.ts';
import { RoomFinder } from './room-discovery.ts';
import { Poller } from './room-poller.ts';
import type { RoomClient } from './twirp-client.ts';
import { createRoomClient } from './twirp-client.ts';
import { Webhooks } from './webhook-receiver.ts';
import { makeWorkerToken } from './worker-token.ts';

export interface RoomsOptions {
  readonly livekit: LiveKitKeys;
  readonly clock: Clock;
  readonly pollEveryMs: number;
}

type CloseRoom = Pick<Extract<Effect, { do: 'close_room' }>, 'room' | 'roomSid' | 'boundMs'>;

export function createRooms({ livekit, clock, pollEveryMs }: RoomsOptions): Rooms {
  const client = createRoomClient(livekit);
  const webhooks = new Webhooks(livekit);
  let listener: RoomsListener | null = null;
  const poller = new Poller({
    client,
    clock,
    everyMs: pollEveryMs,
    listener: {
      snapshot: (room, snapshot) => listener?.snapshot(room, snapshot),
      reachable: (reachable) => listener?.reachable(reachable),
    },
  });
  const finder = new RoomFinder({
    client,
    clock,
    everyMs: pollEveryMs,
    found: (room, roomSid) => listener?.found(room, roomSid),
  });
  return {
    url: livekit.url.replace(/^http/, 'ws'),
    follow: (room, pace) => poller.follow(room, pace),
    unfollow: (room) => poller.unfollow(room),
    start: (roomsListener) => {
      listener = roomsListener;
      poller.start();
    },
    poll: (room) => poller.pollSoon(room),
    discover: (isWanted) => finder.setFilter(isWanted),
    status: () => poller.reachability.status,
    describe: (room, boundMs) => client.describe(room.name, boundMs),
    removeAgent: ({ room, identity, boundMs }) =>
      step(async () => {
        const participant = { identity, revokedBeforeWallMs: clock.now().wallMs };
        return done(await client.remove(room.name, participant, boundMs), 'the agent was not in the room');
      }),
    closeRoom: (effect) => step(() => closeRoom({ client, clock }, effect)),
    closeEmpty: (empty) => step(() => closeEmpty({ client, clock }, empty)),
    closeRefused: (refused) => step(() => closeRefused({ client, clock }, refused)),
    workerToken: ({ keys = livekit, ...grant }) => makeWorkerToken(keys, grant),
    webhook: async (rawBody, authorization) => {
      const received = await webhooks.receive(rawBody, authorization, clock.now());
      if (received === null) return;
      const { room, event } = received;
      if (event.kind === 'changed' || event.kind === 'joined') finder.offer(room, event.roomSid);
      if (!poller.isFollowed(room)) return;
      listener?.event(room, event);
      poller.pollSoon(room);
    },
    close: async () => {
      finder.close();
      poller.close();
    },
  };
}

/**
 * Deletes only the intended room: a newer room with the same name has another sid.
 * Race: LiveKit deletes by name alone. A room that is replaced between our two requests is deleted too.
 */
async function closeRoom(
  { client, clock }: { client: RoomClient; clock: Clock },
  { room, roomSid, boundMs }: CloseRoom,
): Promise<RoomStepResult> {
  const untilMs = clock.now().bootMs + boundMs;
  const facts = (await client.list([room.name], boundMs / 2)).get(room.name);
  if (facts === undefined) return done(false, 'the room was gone already');
  if (roomSid === null) return { outcome: 'skipped', detail: "the session does not know the room's sid" };
  if (facts.sid !== roomSid) return { outcome: 'skipped', detail: 'another room has this name now' };
  return done(await client.delete(room.name, untilMs - clock.now().bootMs), 'the room was gone already');
}

/** Race: a caller that joins between our requests is disconnected. LiveKit has no request that closes only an empty room. */
async function closeEmpty(
  { client, clock }: { client: RoomClient; clock: Clock },
  { room, roomSid, boundMs }: CloseRoom,
): Promise<RoomStepResult> {
  const untilMs = clock.now().bootMs + boundMs;
  const facts = (await client.list([room.name], boundMs / 2)).get(room.name);
  if (facts?.sid !== roomSid)
    return { outcome: 'skipped', detail: 'the room is gone, or another one has its name' };
  const people = await client.participants(room.name, boundMs / 2);
  if (people.some(isThere)) return { outcome: 'skipped', detail: 'somebody is in the room' };
  return done(await client.delete(room.name, untilMs - clock.now().bootMs), 'the room was gone already');
}

async function closeRefused(
  { client, clock }: { client: RoomClient; clock: Clock },
  { room, roomSid, ownJob, boundMs }: RefusedRoom,
): Promise<RoomStepResult> {
  const untilMs = clock.now().bootMs + boundMs;
  const others = (await client.jobs(room.name, boundMs / 2)).filter((id) => id !== ownJob);
  if (others.length > 0) return { outcome: 'skipped', detail: 'LiveKit gave the call to another agent' };
  return closeRoom({ client, clock }, { room, roomSid, boundMs: untilMs - clock.now().bootMs });
}

function done(was: boolean, otherwise: string): RoomStepResult {
  return { outcome: 'done', detail: was ? null : otherwise };
}

async function step(work: () => Promise<RoomStepResult>): Promise<RoomStepResult> {
  try {
    return await work();
  } catch (error) {
    return { outcome: isTimeout(error) ? 'timeout' : 'failed', detail: describeFailure(error) };
  }
}
