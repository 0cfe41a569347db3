/** Answers that a real LiveKit never gives. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import type { RoomClient } from '../../../src/adapters/livekit/rooms/twirp-client.ts';
import { createRoomClient } from '../../../src/adapters/livekit/rooms/twirp-client.ts';

it('a room client gives up a description that LiveKit does not send within the bound', async () => {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createRoomClient({ url: `ws://127.0.0.1:${port}`, apiKey: 'key', apiSecret: 'secret' });
  try {
    await expect(client.describe('room', 50)).rejects.toThrow(/timed out|timeout/i);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

it.each<[string, (client: RoomClient) => Promise<unknown>]>([
  ['a list of participants', (client) => client.participants('room', 30_000)],
  ['a list of rooms', (client) => client.list([], 30_000)],
])('a room client rejects an endless answer early, before it fills the memory: %s', async (_what, request) => {
  let sentBytes = 0;
  const chunk = ' '.repeat(1024 * 1024);
  const server = createServer((_request, response) => {
    const send = () => {
      while (!response.destroyed && response.write(chunk)) sentBytes += chunk.length;
    };
    response.on('drain', send);
    send();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createRoomClient({ url: `ws://127.0.0.1:${port}`, apiKey: 'key', apiSecret: 'secret' });
  try {
    await expect(request(client)).rejects.toThrow(/more than \d+ bytes/);
    expect(sentBytes).toBeLessThan(256 * 1024 * 1024);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
