/** The Rooms port on a LiveKit server. */
import type { RoomKey } from '../core/ids.ts';
import { messageOf } from '../errors.ts';
import { PRESENCE } from '../limits.ts';
import type { Clock, RoomStepResult, Rooms, RoomsListener } from '../ports.ts';
import type { LiveKitAccess, RoomClient } from './client.ts';
import { createRoomClient } from './client.ts';
import { Poller } from './poller.ts';
import { makeWorkerToken } from './tokens.ts';
import { Webhooks } from './webhooks.ts';

export interface RoomsOptions {
  readonly livekit: LiveKitAccess;
  readonly clock: Clock;
  readonly pollEveryMs: number;
}

export function createRooms({ livekit, clock, pollEveryMs }: RoomsOptions): Rooms {
  const client = createRoomClient(livekit);
  const webhooks = new Webhooks(livekit);
  let listener: RoomsListener | null = null;
  const poller = new Poller({
    client,
    clock,
    everyMs: pollEveryMs,
    listener: {
      observed: (room, look) => listener?.observed(room, look),
      reachable: (reachable) => listener?.reachable(reachable),
    },
  });
  return {
    url: livekit.url.replace(/^http/, 'ws'),
    follow: (room) => poller.follow(room),
    unfollow: (room) => poller.unfollow(room),
    start: (told) => {
      listener = told;
      poller.start();
    },
    look: (room) => poller.look(room),
    status: () => poller.status,
    removeAgent: ({ room, identity, boundMs }) =>
      step(async () => done(await client.remove(room.name, identity, boundMs), 'the agent had left already')),
    closeRoom: ({ room, roomSid, boundMs }) => step(() => closeRoom(client, { room, roomSid, boundMs })),
    workerToken: (grant) => makeWorkerToken(livekit, grant),
    webhook: async (rawBody, authorization) => {
      const news = await webhooks.receive(rawBody, authorization, clock.now());
      if (news === null || !poller.isFollowed(news.room)) return;
      listener?.event(news.room, news.event);
      poller.look(news.room);
    },
    close: async () => poller.close(),
  };
}

/** Only the room that was meant: a newer one of the same name has another sid. */
async function closeRoom(
  client: RoomClient,
  { room, roomSid, boundMs }: { room: RoomKey; roomSid: string | null; boundMs: number },
): Promise<RoomStepResult> {
  const askMs = Math.min(boundMs / 2, PRESENCE.requestTimeoutMs);
  const facts = (await client.list([room.name], askMs)).get(room.name);
  if (facts === undefined) return { outcome: 'done', detail: 'the room was gone already' };
  if (roomSid === null || facts.sid !== roomSid)
    return { outcome: 'skipped', detail: 'another room has this name now' };
  return done(await client.delete(room.name, boundMs - askMs), 'the room was gone already');
}

function done(was: boolean, otherwise: string): RoomStepResult {
  return { outcome: 'done', detail: was ? null : otherwise };
}

async function step(work: () => Promise<RoomStepResult>): Promise<RoomStepResult> {
  try {
    return await work();
  } catch (error) {
    const text = messageOf(error);
    return { outcome: text.includes('did not answer') ? 'timeout' : 'failed', detail: text };
  }
}
