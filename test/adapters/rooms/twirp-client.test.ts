/** Answers that no LiveKit would give. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import type { RoomClient } from '../../../src/adapters/livekit/rooms/twirp-client.ts';
import { createRoomClient } from '../../../src/adapters/livekit/rooms/twirp-client.ts';

it.each<[string, (client: RoomClient) => Promise<unknown>]>([
  ['participants', (client) => client.participants('room', 30_000)],
  ['rooms', (client) => client.list([], 30_000)],
])('an answer without an end is not gathered until the request is over: %s', async (_what, asked) => {
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
    await expect(asked(client)).rejects.toThrow(/more than \d+ bytes/);
    expect(sentBytes).toBeLessThan(256 * 1024 * 1024);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
