/** Which of a LiveKit agent's two lines counts. */
import { describe, expect, it } from 'vitest';
import type { WorkerId } from '../../src/core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../src/core/model/control-protocol.ts';
import type { Channels, ChannelsListener } from '../../src/ports/channels.ts';
import type { StandIn, StandInListener } from '../../src/ports/stand-in.ts';
import { ChannelRouter } from '../../src/runtime/workers/channel-router.ts';
import { profile, WORKER } from '../core/support.ts';

const WELCOME: SupervisorMessage = { type: 'welcome', v: 1, heartbeatMs: 1000, job: null };

async function lines() {
  let socket: ChannelsListener | null = null;
  let standIn: StandInListener | null = null;
  const told: SupervisorMessage[] = [];
  const heard: WorkerMessage['type'][] = [];
  const both = new ChannelRouter({
    channels: {
      listen: async (listener: ChannelsListener) => {
        socket = listener;
      },
      tell: (_id: WorkerId, message: SupervisorMessage) => told.push(message) > 0,
    } as unknown as Channels,
    standIn: {
      listen: async (listener: StandInListener) => {
        standIn = listener;
      },
    } as unknown as StandIn,
    sessionOf: () => null,
    warmProfileOf: () => profile({ protocol: 'livekit' }),
  });
  await both.listen({
    hello: () => true,
    message: (_id, message) => heard.push(message.type),
    closed: () => undefined,
  });
  both.tell(WORKER, WELCOME);
  if (socket === null || standIn === null) throw new Error('nobody listens');
  return { socket: socket as ChannelsListener, standIn: standIn as StandInListener, told, heard };
}

describe("a LiveKit agent's lines", () => {
  it('the main process beats while the job has none of its own', async () => {
    const { standIn, heard } = await lines();
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
  });

  it('a job that attaches is greeted and has beaten; from then on only its own beats count', async () => {
    const { socket, standIn, told, heard } = await lines();
    expect(socket.hello(WORKER)).toBe(true);
    await Promise.resolve();
    expect([told, heard]).toEqual([[WELCOME], ['heartbeat']]);
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
    socket.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat', 'heartbeat']);
  });

  it('a job whose line is lost leaves the word to the main process', async () => {
    const { socket, standIn, heard } = await lines();
    socket.hello(WORKER);
    socket.closed(WORKER);
    await Promise.resolve();
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
  });
});
