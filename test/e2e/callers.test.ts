/** A caller that returns, and participants that are no callers: real server, real participants, real agents. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const AGENT = { command: [process.execPath, `${ROOT}/test/fixtures/agent.mjs`], protocol: 'curfew' };

describe.runIf(HAS_LIVEKIT)('callers', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-callers-'));
    const ignore = { identities: ['notetaker-*'], attributes: { role: 'listener' } };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '1s' },
      limits: { start_rate: '100/s' },
      agents: {
        page: { ...AGENT, rooms: 'page-*' },
        watched: { ...AGENT, rooms: 'watched-*', callers_left: '300ms', callers: { ignore } },
      },
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const sessionsIn = async (room: string) =>
    (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions.filter(
      (one) => one.room === room,
    );
  const liveIn = (room: string) =>
    until(`a session is live in ${room}`, async () => {
      const live = (await sessionsIn(room)).find((one) => one.state === 'live');
      return live ?? null;
    });
  const sees = (id: string, count: number) =>
    until(`${count} callers are seen`, async () => (await daemon.session(id)).presence?.callers === count);

  it.concurrent('a page that is loaded again after 5 s finds the same session', async () => {
    const room = 'page-1';
    await callers.join(room, 'ann');
    const { id } = await liveIn(room);
    await sees(id, 1);
    await callers.leave(room, 'ann');
    await sees(id, 0);
    const awayMs = Date.now() + 5000;
    await until('5 s without a caller', async () => {
      const { presence } = await daemon.session(id);
      return presence?.callers === 0 && Date.parse(presence.asOf) >= awayMs;
    });
    await callers.join(room, 'ann');
    await sees(id, 1);
    expect(await sessionsIn(room)).toMatchObject([{ id, state: 'live' }]);
    await callers.leave(room, 'ann');
    expect(await daemon.ended(id, 30_000)).toMatchObject({ reason: 'callers_left' });
  });

  it.concurrent('a listener and a note-taking bot are no callers and keep no session', async () => {
    const room = 'watched-1';
    await callers.join(room, 'ann');
    await callers.join(room, 'notetaker-1');
    await callers.join(room, 'lea', { attributes: { role: 'listener' } });
    const { id } = await liveIn(room);
    await sees(id, 1);
    await callers.leave(room, 'ann');
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'callers_left' });
  });
});
