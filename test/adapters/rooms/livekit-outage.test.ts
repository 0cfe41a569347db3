/** LiveKit stopped, killed, started again, and with a key that is not its own. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../../support/livekit/livekit-server.ts';
import type { Told } from '../../support/livekit/rooms-watcher.ts';
import { Watcher } from '../../support/livekit/rooms-watcher.ts';

describe.runIf(HAS_LIVEKIT)('LiveKit away', () => {
  let livekit: LiveKit;
  let watcher: Watcher;

  beforeEach(async () => {
    livekit = await LiveKit.start();
  });

  afterEach(async () => {
    await watcher.close();
    await livekit.close();
  });

  const watch = async (apiSecret = SECRET, apiKey = KEY) => {
    watcher = new Watcher({ livekit: { url: livekit.url, apiKey, apiSecret }, pollEveryMs: 200 });
    watcher.follow('room');
    expect(watcher.rooms.status()).toBeNull();
    return watcher.start();
  };
  const isAway = (one: Told) => one.kind === 'reachable' && !one.reachable;
  /** What was told from the last "away" on. */
  const sinceAway = () => watcher.told.slice(watcher.told.findLastIndex(isAway));

  it.each([
    'stopped',
    'killed',
  ] as const)('%s: said since when, nothing is observed, then it is back before the first look', async (how) => {
    const { sid } = await livekit.rooms.createRoom({ name: 'room' });
    await watch();
    await watcher.sees('room', ({ roomSid }) => roomSid === sid);
    const before = watcher.clock.now();
    if (how === 'stopped') livekit.signal('SIGSTOP');
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
    if (how === 'stopped') livekit.signal('SIGCONT');
    else await livekit.boot();
    await watcher.reaches(true);
    const look = await watcher.sees('room', () => true);
    // A killed server has forgotten its rooms; a stopped one has not.
    expect(look.roomSid).toBe(how === 'stopped' ? sid : null);
    expect(sinceAway().map((one) => one.kind)[1]).toBe('reachable');
    expect(watcher.rooms.status()).toMatchObject({ reachable: true, lastError: null });
  });

  it.each([
    ['a secret', () => watch('another-secret-that-is-long-enough-for-hs256')],
    ['a key', () => watch(SECRET, 'otherkey')],
  ])('because of %s that is not its own: said without quoting it or a token', async (_, start) => {
    await start();
    await watcher.reaches(false);
    const { lastError } = await until('an error', () => watcher.rooms.status());
    expect(lastError).toContain('livekit.api_key and livekit.api_secret must be a pair');
    expect(lastError).not.toMatch(/eyJ|secret-that|otherkey/);
    expect(watcher.looks('room')).toEqual([]);
  });
});
