/** Many calls by LiveKit's own dispatch: none is lost, and all go on through a restart of curfew. CURFEW_CALLS raises the number. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const CALLS = Number(process.env.CURFEW_CALLS ?? 30);
const AT_ONCE = 10;
const AGENT = {
  command: [process.execPath, join(ROOT, 'test/fixtures/agent.mjs')],
  protocol: 'curfew',
  agent_name: 'voice',
  callers_left: '300ms',
  start_timeout: '120s',
};

/**
 * On a slow machine LiveKit gives a job up without curfew's doing: it waits 3 s for an answer. It also ends a job when the agent has
 * to join again. LiveKit then shows no success for that job, although the call is served.
 */
const GIVEN_UP = /failed to assign job to worker.*deadline exceeded|job ended.*agent worker left the room/;

describe.runIf(HAS_LIVEKIT)("many calls by LiveKit's own dispatch", () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;

  beforeEach(async () => {
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
  });
  afterEach(async () => {
    callers.kill();
    await daemon?.close();
    await livekit.close();
  });

  async function serve(agent: object): Promise<void> {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-jobs-'));
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      limits: { sessions: 100, per_user: 'off', start_rate: '100/s' },
      presence: { poll_interval: '1s' },
      agents: { default: agent },
    };
    daemon = await new Daemon({ config, dir }).start();
    await registered();
  }

  const registrationState = async () =>
    (await daemon.get<CapacityView>('/v1/capacity')).body.jobs.find(
      (one) => one.agentName === AGENT.agent_name,
    )?.state;
  const registered = () =>
    until('the name is registered', async () => (await registrationState()) === 'registered');
  const idsIn = (pattern: RegExp) =>
    livekit.log.split('\n').flatMap((line) => (pattern.test(line) ? (/AJ_\w+/.exec(line) ?? []) : []));
  const sessions = async () =>
    (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions?limit=500')).body.sessions;

  /** One call for each room, all at the same moment. Returns their sessions when each is live. */
  async function call(rooms: readonly string[]): Promise<SessionView[]> {
    await Promise.all(rooms.map((room) => callers.join(room, 'ann', { audio: false })));
    await Promise.all(rooms.map((room) => livekit.dispatches.createDispatch(room, 'voice')));
    return until(
      'each room has its agent',
      async () => {
        const live = (await sessions()).filter((one) => rooms.includes(one.room) && one.state === 'live');
        return live.length === rooms.length ? live : null;
      },
      120_000,
    );
  }

  it(`LiveKit shows each of ${CALLS} calls as success, with ${AT_ONCE} at a time`, async () => {
    await serve(AGENT);
    const givenUp = new Set<string>();
    for (let at = 0; at < CALLS; at += AT_ONCE) {
      const rooms = Array.from({ length: Math.min(AT_ONCE, CALLS - at) }, (_, index) => `r${at + index}`);
      await call(rooms);
      for (const id of idsIn(GIVEN_UP)) givenUp.add(id);
      await Promise.all(rooms.map((room) => callers.leave(room, 'ann')));
      await until(
        'all sessions have ended',
        async () => (await sessions()).every((one) => one.state === 'released'),
        60_000,
      );
    }
    const ended = await sessions();
    expect(ended.filter((one) => one.reason === 'callers_left')).toHaveLength(CALLS);
    const missing = () => {
      const shown = idsIn(/job ended.*JS_SUCCESS/);
      return ended.map((one) => one.id as string).filter((id) => !shown.includes(id));
    };
    const isShown = () => missing().length === givenUp.size;
    await until('LiveKit shows each session', isShown).catch(() => undefined);
    const left = missing();
    const ofThem = livekit.log.split('\n').filter((line) => left.some((id) => line.includes(id)));
    expect(new Set(left), ofThem.join('\n')).toEqual(givenUp);
  });

  it("LiveKit's calls keep their workers when the supervisor is killed, and the next call arrives", async () => {
    await serve({ ...AGENT, callers_left: '10s' });
    const rooms = Array.from({ length: 8 }, (_, index) => `r${index}`);
    const before = await call(rooms);
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    await registered();
    for (const { id, pid } of before)
      expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid, restarts: 0 });
    await call(['next']);
    for (const { id } of before) expect((await daemon.session(id)).state).toBe('live');
  });

  it('a call goes on while LiveKit is dead, and curfew registers the name again afterwards', async () => {
    await serve({ ...AGENT, callers_left: '10s' });
    const [session] = await call(['r']);
    await livekit.kill();
    await until(
      'capacity shows the lost registration',
      async () => (await registrationState()) === 'connecting',
      60_000,
    );
    expect((await daemon.session(session?.id ?? '')).state).toBe('live');
    await livekit.boot();
    await registered();
    await call(['next']);
  });
});
