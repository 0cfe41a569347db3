/** Agents outside of the worker's process tree, which come back with their token after their session: real server, real participants. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { CallersProcess } from '../support/callers/callers-process.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

/** The worker hands its token to a process elsewhere, and ends alone. */
const CLIENT =
  'printf "%s\\n%s" "$LIVEKIT_URL" "$LIVEKIT_TOKEN" > "$CLIENTS/$CURFEW_SESSION_ID"; exec sleep 1000';

interface Place {
  readonly livekit: LiveKit;
  readonly daemon: Daemon;
  readonly callers: Callers;
  readonly elsewhere: CallersProcess;
  readonly elsewhereToo: CallersProcess;
  readonly clients: string;
}

interface Setting {
  readonly hasWebhooks: boolean;
  /** LiveKit's default agent, which every new room gets. */
  readonly hasDefaultAgent?: true;
}

/** Without webhooks LiveKit sends them to a port where nobody listens. */
async function open({ hasWebhooks, hasDefaultAgent }: Setting): Promise<Place> {
  const livekit = await LiveKit.start();
  const dir = mkdtempSync(join(tmpdir(), 'curfew-comeback-'));
  const { listen, ...config } = livekit.config(join(dir, 'c.sock'));
  const far = {
    command: ['sh', '-c', CLIENT],
    protocol: 'none',
    env: { CLIENTS: dir },
    room_on_end: 'close',
  };
  const near = { command: [process.execPath, `${ROOT}/test/fixtures/agent.mjs`], protocol: 'curfew' };
  const daemon = await new Daemon({
    dir,
    config: {
      ...config,
      listen: hasWebhooks ? listen : { socket: join(dir, 'c.sock'), http: 'off' },
      presence: { poll_interval: '1s' },
      limits: { start_rate: '100/s' },
      agents: {
        far,
        near,
        watcher: { ...near, rooms: 'pattern-*' },
        ...(hasDefaultAgent && { every: { ...near, agent_name: '', no_caller: '4s' } }),
      },
    },
  }).start();
  const [elsewhere, elsewhereToo] = [
    new CallersProcess('lasting-agent.mjs'),
    new CallersProcess('lasting-agent.mjs'),
  ];
  return { livekit, daemon, callers: new Callers(livekit), elsewhere, elsewhereToo, clients: dir };
}

const counts = async ({ daemon }: Place) =>
  (await daemon.get<CapacityView>('/v1/capacity')).body.removedAgents;
/** A session whose agent is in its room, from a process elsewhere. */
async function callFar(place: Place, room: string): Promise<SessionView> {
  const { daemon, elsewhere, clients } = place;
  const { body } = await daemon.dispatch({ room, agent: 'far' });
  const path = join(clients, body.id);
  const text = await until('the token', () => (existsSync(path) ? readFileSync(path, 'utf8') : ''));
  const [url = '', token = ''] = text.split('\n');
  elsewhere.write({ id: body.id, url, token });
  return daemon.becomes(body.id, 'with its agent', (seen) => (seen.presence?.agents ?? 0) > 0);
}

/** The agent is removed that many times more. */
async function removedAgain(place: Place, times: number): Promise<void> {
  const before = (await counts(place))?.removedAgain ?? 0;
  const isSo = async () => ((await counts(place))?.removedAgain ?? 0) >= before + times;
  await until(`${times} times removed`, isSo, 90_000);
}

/** The agent outlives its session, and each of its returns ends soon. */
async function comesBack(place: Place, room: string): Promise<void> {
  const { daemon, callers, livekit } = place;
  await callers.join(room, 'ann');
  const first = await callFar(place, room);
  await daemon.release(first.id);
  await daemon.ended(first.id);
  await removedAgain(place, 2);
  expect(await counts(place)).toMatchObject({ watched: 1, dropped: 0 });
  // The room of the session was closed, so the agent made each later one.
  await until('a room of the agent is closed', async () => ((await counts(place))?.roomsClosed ?? 0) > 0);
  const lines = daemon.stderr.split('\n').filter((line) => line.includes('in its room again'));
  expect(lines.join()).toContain(first.id);
  expect(lines.join()).not.toContain(room);

  daemon.signal('SIGKILL');
  await daemon.exited();
  await daemon.start();
  await removedAgain(place, 1);

  // The next call in the same room goes on, although the agent comes back.
  await callers.join(room, 'bob');
  const { body: second } = await daemon.dispatch({ room, agent: 'near' });
  await daemon.becomes(
    second.id,
    'live with its caller',
    ({ state, presence }) => state === 'live' && presence?.callers === 1,
  );
  await removedAgain(place, 1);
  expect(await daemon.session(second.id)).toMatchObject({ state: 'live', restarts: 0 });
  expect((await livekit.rooms.listParticipants(room)).map((one) => one.identity)).toContain('bob');
  await daemon.release(second.id);
  await daemon.ended(second.id);
}

/** An agent alone brings no session into a room of a pattern, and a caller does. */
async function comesBackByPattern(place: Place, room: string): Promise<void> {
  const { daemon, callers } = place;
  const watchers = async () =>
    (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions.filter(
      (one) => one.room === room && one.agent === 'watcher',
    );
  const first = await callFar(place, room);
  await daemon.release(first.id);
  await daemon.ended(first.id);
  await removedAgain(place, 2);
  expect(await watchers()).toEqual([]);
  await callers.join(room, 'cleo');
  const session = await until('a session', async () => {
    const [found] = await watchers();
    return found?.state === 'live' ? found : null;
  });
  await removedAgain(place, 1);
  expect(await daemon.session(session.id)).toMatchObject({ state: 'live', restarts: 0 });
}

describe.runIf(HAS_LIVEKIT)('an agent elsewhere', () => {
  const places: Place[] = [];
  beforeAll(async () => {
    const settings: Setting[] = [
      { hasWebhooks: true },
      { hasWebhooks: false },
      { hasWebhooks: true, hasDefaultAgent: true },
    ];
    places.push(...(await Promise.all(settings.map(open))));
  });
  afterAll(async () => {
    for (const { elsewhere, elsewhereToo, callers, daemon, livekit } of places) {
      elsewhere.kill();
      elsewhereToo.kill();
      callers.kill();
      await daemon.close();
      await livekit.close();
    }
  });

  it.concurrent.each([
    ['with webhooks', 0],
    ['with polls only', 1],
  ])('is removed each time it comes back, also by the next supervisor, and brings no session, %s', async (_, at) => {
    const place = places[at] as Place;
    await comesBack(place, 'far-1');
    place.elsewhere.kill();
    await comesBackByPattern({ ...place, elsewhere: place.elsewhereToo }, 'pattern-1');
  });

  it.concurrent("that makes its room again brings a session of LiveKit's default agent, which ends soon, and the agent is removed", async () => {
    const place = places[2] as Place;
    const { daemon, callers } = place;
    const room = 'every-1';
    const everySessions = async () =>
      (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions.filter(
        (one) => one.room === room && one.agent === 'every',
      );
    const first = await callFar(place, room);
    await daemon.release(first.id);
    await daemon.ended(first.id);
    const brought = await until('a session of the default agent', async () => (await everySessions())[0]);
    await removedAgain(place, 1);
    expect(await daemon.ended(brought.id, 60_000)).toMatchObject({ reason: 'no_caller_joined' });
    // A caller that joins while the agent comes and goes has its own agent.
    await callers.join(room, 'ann');
    const session = await until(
      'a session with the caller',
      async () =>
        (await everySessions()).find(({ state, presence }) => state === 'live' && presence?.callers === 1),
      60_000,
    );
    await removedAgain(place, 1);
    expect(await daemon.session(session.id)).toMatchObject({ state: 'live', restarts: 0 });
  });
});
