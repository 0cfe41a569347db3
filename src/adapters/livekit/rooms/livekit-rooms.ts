/** The Rooms port on a LiveKit server. */
import type { Effect } from '../../../core/model/effects.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { RefusedRoom, RoomStepResult, Rooms, RoomsListener } from '../../../ports/rooms.ts';
import { describeFailure, isTimeout } from './request-failure.ts';
import { Finder } from './room-discovery.ts';
import { Poller } from './room-poller.ts';
import type { LiveKitAccess, RoomClient } from './twirp-client.ts';
import { createRoomClient } from './twirp-client.ts';
import { Webhooks } from './webhook-receiver.ts';
import { makeWorkerToken } from './worker-token.ts';

export interface RoomsOptions {
  readonly livekit: LiveKitAccess;
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
      observed: (room, look) => listener?.snapshot(room, look),
      reachable: (reachable) => listener?.reachable(reachable),
    },
  });
  const finder = new Finder({
    client,
    clock,
    everyMs: pollEveryMs,
    found: (room, roomSid) => listener?.found(room, roomSid),
  });
  return {
    url: livekit.url.replace(/^http/, 'ws'),
    follow: (room) => poller.follow(room),
    unfollow: (room) => poller.unfollow(room),
    start: (told) => {
      listener = told;
      poller.start();
    },
    poll: (room) => poller.look(room),
    discover: (isWanted) => finder.want(isWanted),
    status: () => poller.reach.status,
    removeAgent: ({ room, identity, boundMs }) =>
      step(async () => done(await client.remove(room.name, identity, boundMs), 'the agent had left already')),
    closeRoom: (effect) => step(() => closeRoom({ client, clock }, effect)),
    closeRefused: (refused) => step(() => closeRefused({ client, clock }, refused)),
    workerToken: (grant) => makeWorkerToken(livekit, grant),
    webhook: async (rawBody, authorization) => {
      const news = await webhooks.receive(rawBody, authorization, clock.now());
      if (news === null) return;
      const { kind, roomSid } = news.event;
      if (kind === 'changed' || kind === 'joined') finder.hear(news.room, roomSid);
      if (!poller.isFollowed(news.room)) return;
      listener?.event(news.room, news.event);
      poller.look(news.room);
    },
    close: async () => {
      finder.close();
      poller.close();
    },
  };
}

/**
 * Only the room that was meant: a newer one of the same name has another sid.
 * LiveKit deletes by name alone, so a room that is replaced between our two questions is not told apart.
 */
async function closeRoom(
  { client, clock }: { client: RoomClient; clock: Clock },
  { room, roomSid, boundMs }: CloseRoom,
): Promise<RoomStepResult> {
  const untilMs = clock.now().bootMs + boundMs;
  const facts = (await client.list([room.name], boundMs / 2)).get(room.name);
  if (facts === undefined) return done(false, 'the room was gone already');
  if (roomSid === null) return { outcome: 'skipped', detail: 'it is not known which room was meant' };
  if (facts.sid !== roomSid) return { outcome: 'skipped', detail: 'another room has this name now' };
  return done(await client.delete(room.name, untilMs - clock.now().bootMs), 'the room was gone already');
}

async function closeRefused(
  { client, clock }: { client: RoomClient; clock: Clock },
  { room, roomSid, ownJob, boundMs }: RefusedRoom,
): Promise<RoomStepResult> {
  const untilMs = clock.now().bootMs + boundMs;
  const given = (await client.jobs(room.name, boundMs / 2)).filter((id) => id !== ownJob);
  if (given.length > 0) return { outcome: 'skipped', detail: 'LiveKit has given its call to another agent' };
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
