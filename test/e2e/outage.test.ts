/** LiveKit stops during calls: no session ends for absence until LiveKit answers again. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapacityView, ReadyView } from '../../src/api/host-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const STOPPED_MS = 10_000;
const DEAD_MS = 60_000;
const LOST_MS = 8000;
/** Long enough for several attempts of a caller to join. */
const JOIN_AGAIN_MS = 180_000;

describe.runIf(HAS_LIVEKIT)('an outage of LiveKit', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    const dir = new Daemon({ config: {} });
    daemon = new Daemon({
      dir: dir.dir,
      config: {
        ...livekit.config(dir.socket),
        presence: { poll_interval: '1s' },
        // The worker of `default` needs no LiveKit and never joins the room, so that no session ends as agent_absent.
        agents: {
          default: { command: ['sleep', '1000'], start_timeout: '1h' },
          joins: { command: [process.execPath, join(ROOT, 'test/fixtures/agent.mjs')], protocol: 'curfew' },
        },
      },
    });
    await daemon.start();
    callers = new Callers(livekit);
  });

  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const reachable = (wanted: boolean) =>
    until(
      `LiveKit is ${wanted ? 'back' : 'away'}`,
      async () => (await daemon.get<CapacityView>('/v1/capacity')).body.livekit.reachable === wanted,
      30_000,
    );
  const start = async (room: string, callersLostMs: number) => {
    const { body } = await daemon.dispatch({ room, limits: { callersLostMs, callersLeftMs: 500 } });
    await daemon.reaches(body.id, ['live']);
    return body.id;
  };
  const sees = (id: string, count: number) =>
    until(
      `${count} callers are seen`,
      async () => (await daemon.session(id)).presence?.callers === count,
      30_000,
    );

  it('a call goes on while LiveKit is stopped for 10 s, and readyz says since when', async () => {
    const id = await start('stopped', 5000);
    await callers.join('stopped', 'ann');
    await sees(id, 1);
    await livekit.suspend();
    await reachable(false);
    const ready = (await daemon.get<ReadyView>('/readyz')).body;
    expect(ready.livekit).toMatchObject({
      configured: true,
      reachable: false,
      since: expect.stringMatching(/^20/),
    });
    // The outage itself is under test, so the test lets it last for a fixed time.
    await pause(STOPPED_MS);
    expect((await daemon.session(id)).state).toBe('live');
    livekit.resume();
    await reachable(true);
    await sees(id, 1);
    expect((await daemon.session(id)).state).toBe('live');
    await daemon.release(id);
    await daemon.ended(id);
  });

  it('a caller keeps its session after 60 s without LiveKit, and a lost one has its grace from then on', async () => {
    const phone = new Callers(livekit);
    const [back, gone] = [await start('back', JOIN_AGAIN_MS), await start('gone', LOST_MS)];
    await phone.join('back', 'ann');
    await phone.join('gone', 'bob');
    await sees(back, 1);
    await sees(gone, 1);
    await livekit.kill();
    phone.kill();
    await reachable(false);
    await pause(DEAD_MS);
    expect([(await daemon.session(back)).state, (await daemon.session(gone)).state]).toEqual([
      'live',
      'live',
    ]);
    const bootedAt = Date.now();
    await livekit.boot();
    await reachable(true);
    await callers.join('back', 'ann');
    await sees(back, 1);
    const ended = await daemon.ended(gone);
    expect(ended).toMatchObject({ state: 'released', reason: 'callers_left' });
    // The grace counts from LiveKit's first answer, which comes after the boot.
    expect(Date.parse(ended.evidence?.at ?? '') - bootedAt).toBeGreaterThanOrEqual(LOST_MS);
    expect((await daemon.session(back)).state).toBe('live');
    await daemon.release(back);
    await daemon.ended(back);
  });
});
