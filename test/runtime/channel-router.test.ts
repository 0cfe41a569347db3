/** Which of the two channels of a LiveKit agent counts: the control socket or the stand-in. */
import { describe, expect, it } from 'vitest';
import type { WorkerId } from '../../src/core/ids.ts';
import type { SupervisorMessage, WorkerMessage } from '../../src/core/model/control-protocol.ts';
import type { Channels, ChannelsListener } from '../../src/ports/channels.ts';
import type { StandIn, StandInListener } from '../../src/ports/stand-in.ts';
import { ChannelRouter } from '../../src/runtime/workers/channel-router.ts';
import { profile, WORKER } from '../core/support.ts';

const WELCOME: SupervisorMessage = { type: 'welcome', v: 1, heartbeatMs: 1000, job: null };

async function openRouter() {
  let socket: ChannelsListener | null = null;
  let standIn: StandInListener | null = null;
  const sent: SupervisorMessage[] = [];
  const heard: WorkerMessage['type'][] = [];
  const attachedBy: string[] = [];
  const both = new ChannelRouter({
    channels: {
      listen: async (listener: ChannelsListener) => {
        socket = listener;
      },
      send: (_id: WorkerId, message: SupervisorMessage) => sent.push(message) > 0,
    } as unknown as Channels,
    standIn: {
      listen: async (listener: StandInListener) => {
        standIn = listener;
      },
    } as unknown as StandIn,
    sessionOf: () => null,
    note: () => undefined,
    warmProfileOf: () => profile({ protocol: 'livekit' }),
    attached: (_id, by) => attachedBy.push(by),
  });
  await both.listen({
    hello: () => true,
    message: (_id, message) => heard.push(message.type),
    closed: () => undefined,
    answered: () => undefined,
  });
  both.send(WORKER, WELCOME);
  if (socket === null || standIn === null) throw new Error('the router does not listen');
  return { socket: socket as ChannelsListener, standIn: standIn as StandInListener, sent, heard, attachedBy };
}

describe('the heartbeat of a LiveKit agent', () => {
  it('comes from the main process while the job has no channel', async () => {
    const { standIn, heard } = await openRouter();
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
  });

  it('comes only from the job after the job attached, and the attach counts as the first heartbeat', async () => {
    const { socket, standIn, sent, heard } = await openRouter();
    expect(socket.hello(WORKER)).toBe(true);
    await Promise.resolve();
    expect([sent, heard]).toEqual([[WELCOME], ['heartbeat']]);
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
    socket.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat', 'heartbeat']);
  });

  it('is of an attachment by the launcher or by the agent itself, as the name of the kit says', async () => {
    const { socket, attachedBy } = await openRouter();
    socket.hello(WORKER, 'python-launcher');
    socket.hello(WORKER, 'python');
    socket.hello(WORKER);
    expect(attachedBy).toEqual(['launcher', 'code', 'code']);
  });

  it('comes from the main process again after the job lost its channel', async () => {
    const { socket, standIn, heard } = await openRouter();
    socket.hello(WORKER);
    socket.closed(WORKER);
    await Promise.resolve();
    standIn.message(WORKER, { type: 'heartbeat' });
    expect(heard).toEqual(['heartbeat']);
  });
});
