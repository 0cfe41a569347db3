/** LiveKit suspended, killed, started again, and with a key of another server. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import type { Report } from '../../support/livekit/rooms-watcher.ts';
import { RoomsWatcher } from '../../support/livekit/rooms-watcher.ts';

describe.runIf(HAS_LIVEKIT)('an outage of LiveKit', () => {
  let livekit: LiveKit;
  let watcher: RoomsWatcher;

  beforeEach(async () => {
    livekit = await LiveKit.start();
  });

  afterEach(async () => {
    await watcher.close();
    await livekit.close();
  });

  const watch = async (apiSecret = SECRET, apiKey = KEY) => {
    watcher = new RoomsWatcher({ livekit: { url: livekit.url, apiKey, apiSecret }, pollEveryMs: 200 });
    watcher.follow('room');
    expect(watcher.rooms.status()).toBeNull();
    return watcher.start();
  };
  const isAway = (one: Report) => one.kind === 'reachable' && !one.reachable;
  /** The reports from the last "away" on. */
  const sinceAway = () => watcher.reports.slice(watcher.reports.findLastIndex(isAway));

  it.each([
    'stopped',
    'killed',
  ] as const)('is reported with its start, stops all snapshots, and ends before the next snapshot: %s', async (how) => {
    const { sid } = await livekit.rooms.createRoom({ name: 'room' });
    await watch();
    await watcher.nextSnapshot('room', ({ roomSid }) => roomSid === sid);
    const before = watcher.clock.now();
    if (how === 'stopped') await livekit.suspend();
    else await livekit.kill();
    await watcher.reaches(false);
    const status = watcher.rooms.status();
    expect(status).toMatchObject({
      reachable: false,
      lastError: how === 'stopped' ? 'LiveKit did not answer in time' : expect.stringContaining('reached: E'),
    });
    expect(status?.since.bootMs).toBeGreaterThanOrEqual(before.bootMs);
    for (let times = 0; times < 50; times += 1) watcher.rooms.poll({ project: 'default', name: 'room' });
    expect(sinceAway()).toEqual([{ kind: 'reachable', reachable: false }]);
    expect(watcher.rooms.status()?.since).toEqual(status?.since);
    if (how === 'stopped') livekit.resume();
    else await livekit.boot();
    await watcher.reaches(true);
    const snapshot = await watcher.nextSnapshot('room', () => true);
    // A killed server forgets its rooms. A suspended server keeps them.
    expect(snapshot.roomSid).toBe(how === 'stopped' ? sid : null);
    const [away, firstReport] = sinceAway();
    expect([away?.kind, firstReport?.kind]).toEqual(['reachable', 'reachable']);
    expect(watcher.rooms.status()).toMatchObject({ reachable: true, lastError: null });
  });

  it.each([
    ['secret', () => watch('another-secret-that-is-long-enough-for-hs256')],
    ['key', () => watch(SECRET, 'otherkey')],
  ])('from a wrong %s names the remedy without the secret, the key or a token', async (_, start) => {
    await start();
    await watcher.reaches(false);
    const { lastError } = await until('an error', () => watcher.rooms.status());
    expect(lastError).toContain('Check livekit.api_key and livekit.api_secret');
    expect(lastError).not.toMatch(/eyJ|secret-that|otherkey/);
    expect(watcher.snapshotsOf('room')).toEqual([]);
  });
});
