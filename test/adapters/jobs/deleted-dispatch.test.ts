/** Whether a dispatch was deleted, as a real LiveKit server tells it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createIsDeleted } from '../../../src/adapters/livekit/jobs/deleted-dispatch.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';

describe.runIf(HAS_LIVEKIT)('a dispatch of a real LiveKit server', () => {
  let livekit: LiveKit;
  beforeAll(async () => {
    livekit = await LiveKit.start();
  });
  afterAll(() => livekit?.close());

  it('counts as deleted after its deletion alone, and is unknown without its room', async () => {
    const isDeleted = createIsDeleted({ url: livekit.url, apiKey: KEY, apiSecret: SECRET });
    await livekit.rooms.createRoom({ name: 'r' });
    const [one, other] = [
      await livekit.dispatches.createDispatch('r', 'voice'),
      await livekit.dispatches.createDispatch('r', 'voice'),
    ];
    expect(await isDeleted({ id: one.id, room: 'r' })).toBe(false);
    await livekit.dispatches.deleteDispatch(one.id, 'r');
    expect(await isDeleted({ id: one.id, room: 'r' })).toBe(true);
    expect(await isDeleted({ id: other.id, room: 'r' })).toBe(false);
    expect(await isDeleted({ id: one.id, room: 'no such room' })).toBeNull();
  }, 60_000);
});
