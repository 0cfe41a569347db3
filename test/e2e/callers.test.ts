/** A caller that returns, and participants that are no callers: real server, real participants, real agents. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentDispatchClient } from 'livekit-server-sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

const PYTHON = findPythonAgents();
const AGENT = { command: [process.execPath, `${ROOT}/test/fixtures/agent.mjs`], protocol: 'curfew' };

describe.runIf(HAS_LIVEKIT)('callers', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;
  let clocks = 0;
  let notesDir = '';

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-callers-'));
    const notes = {
      command: [PYTHON ?? '', join(ROOT, 'test/fixtures/agents/notes.py'), 'start'],
      protocol: 'livekit',
      env: { NOTES_DIR: dir },
      ...SLOW_START,
      rooms: 'notes-*',
      callers_left: '300ms',
      warm: 1,
    };
    const session = {
      command: [PYTHON ?? '', join(ROOT, 'test/fixtures/agents/session.py'), 'start'],
      protocol: 'livekit',
      ...SLOW_START,
      agent_name: 'session',
      warm: 1,
    };
    notesDir = dir;
    const ignore = { identities: ['notetaker-*'], attributes: { role: 'listener' } };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '1s' },
      limits: { start_rate: '100/s' },
      agents: {
        again: { ...AGENT, rooms: 'again-*', callers_left: '300ms', max_duration: '10m' },
        voice: { ...AGENT, agent_name: 'voice', callers_left: '300ms' },
        off: { ...AGENT, rooms: 'off-*', callers_left: '300ms', rejoin: 'off' },
        http: { ...AGENT, callers_left: '300ms' },
        ...(PYTHON === null ? {} : { notes, session }),
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

  /** By then curfew has polled each room of this test so many times. */
  const untilPolled = async (polls: number) => {
    const room = `clock-${++clocks}`;
    const { body } = await daemon.dispatch({ room, agent: 'http' });
    const start = Date.now();
    await until(`${polls} polls`, async () => {
      const asOf = Date.parse((await daemon.session(body.id)).presence?.asOf ?? '');
      return asOf > start + polls * 1000;
    });
    await daemon.release(body.id);
  };

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

  const byTime = async (room: string) =>
    (await sessionsIn(room)).sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
  const next = (room: string, count: number, boundMs?: number) =>
    until(
      `session ${count} is live in ${room}`,
      async () => {
        const last = (await byTime(room))[count - 1];
        return last?.state === 'live' ? last : null;
      },
      boundMs,
    );
  const dispatches = () => new AgentDispatchClient(`http://127.0.0.1:${livekit.port}`, KEY, SECRET);

  it.concurrent('a caller that returns after the session gets a new one, in a room of a pattern', async () => {
    const room = 'again-1';
    await callers.join(room, 'ann');
    const first = await next(room, 1);
    await sees(first.id, 1);
    await callers.leave(room, 'ann');
    expect(await daemon.ended(first.id)).toMatchObject({ reason: 'callers_left', rejoinOf: null });
    await callers.join(room, 'ann');
    const second = await next(room, 2);
    expect(second).toMatchObject({ rejoinOf: first.id, agent: 'again' });
    const restMs = second.deadlines.find((one) => one.kind === 'max_duration')?.inMs ?? 0;
    expect(restMs).toBeLessThan(600_000);
    await sees(second.id, 1);
    await callers.leave(room, 'ann');
    await daemon.ended(second.id);
    await callers.join(room, 'ann');
    expect(await next(room, 3)).toMatchObject({ rejoinOf: second.id });
  });

  it.concurrent("a caller that returns after a call of LiveKit's dispatch gets its job again", async () => {
    const room = 'job-1';
    await callers.join(room, 'ann');
    const metadata = JSON.stringify({ lang: 'de', curfew: { user: 'u1', labels: { tier: 'gold' } } });
    await dispatches().createDispatch(room, 'voice', { metadata });
    const first = await next(room, 1);
    await sees(first.id, 1);
    await callers.leave(room, 'ann');
    await daemon.ended(first.id);
    await callers.join(room, 'ann');
    const same = { agent: 'voice', user: 'u1', labels: { tier: 'gold' }, metadata: { lang: 'de' } };
    expect(await next(room, 2)).toMatchObject({ rejoinOf: first.id, ...same });
  });

  it.concurrent.each<[string, string, (id: string) => Promise<unknown>]>([
    ['after a release', 'again-2', (id) => daemon.release(id)],
    ['with rejoin: off', 'off-1', async () => undefined],
  ])('a caller that returns %s gets none', async (_name, room, act) => {
    await callers.join(room, 'ann');
    const { id } = await next(room, 1);
    await sees(id, 1);
    await act(id);
    await callers.leave(room, 'ann');
    await daemon.ended(id);
    await callers.join(room, 'ann');
    await untilPolled(5);
    expect(await sessionsIn(room)).toMatchObject([{ id }]);
  });

  it.concurrent('a dispatch by HTTP brings no session for a caller that returns', async () => {
    const room = 'http-1';
    await livekit.rooms.createRoom({ name: room });
    const { body } = await daemon.dispatch({ room, agent: 'http' });
    await callers.join(room, 'ann');
    await sees(body.id, 1);
    await callers.leave(room, 'ann');
    await daemon.ended(body.id);
    await callers.join(room, 'ann');
    await untilPolled(5);
    expect(await sessionsIn(room)).toMatchObject([{ id: body.id }]);
  });

  it.runIf(PYTHON !== null).concurrent(
    'a page that is loaded again while the agent writes its notes has the next agent, and the notes are whole',
    async () => {
      const room = 'notes-1';
      const notes = () =>
        existsSync(join(notesDir, room)) ? readFileSync(join(notesDir, room), 'utf8') : '';
      await callers.join(room, 'ann');
      await until('the first agent is there', () => notes().includes('connected'), 90_000);
      const first = await next(room, 1);
      await sees(first.id, 1);
      await callers.leave(room, 'ann');
      await until('the notes begin', () => notes().includes('begin'));
      await callers.join(room, 'ann');
      await until('the next agent is there', () => notes().split('connected').length === 3, 90_000);
      const second = await next(room, 2);
      expect(second).toMatchObject({ rejoinOf: first.id });
      const ended = await daemon.ended(first.id, 60_000);
      expect(ended.evidence?.ladder.find((one) => one.step === 'aclose')).toMatchObject({ outcome: 'done' });
      expect(notes()).toContain(' done');
      // The claim had passed on while the callbacks of the first agent still ran.
      expect(Date.parse(second.startedAt ?? '')).toBeLessThan(Date.parse(ended.endedAt ?? ''));
    },
    180_000,
  );

  it.runIf(PYTHON !== null).concurrent(
    'a page that is loaded again after 5 s finds an agent that answers, although the AgentSession of the first has closed',
    async () => {
      const room = 'session-1';
      await callers.join(room, 'ann');
      await dispatches().createDispatch(room, 'session', { metadata: JSON.stringify({ mode: 'quiet' }) });
      const first = await until(
        'session 1 is live',
        async () => (await byTime(room)).find((one) => one.state === 'live'),
        90_000,
      );
      await until(
        'the AgentSession knows its caller',
        () => daemon.workerLogs().includes('caller linked'),
        60_000,
      );
      await sees(first.id, 1);
      await callers.leave(room, 'ann');
      const awayMs = Date.now() + 5000;
      await until('5 s without a caller', async () => {
        const { presence } = await daemon.session(first.id);
        return presence?.callers === 0 && Date.parse(presence.asOf) >= awayMs;
      });
      await callers.join(room, 'ann');
      const second = await next(room, 2, 90_000);
      expect(second).toMatchObject({ rejoinOf: first.id });
      expect(await daemon.ended(first.id, 60_000)).toMatchObject({
        reason: 'completed',
        evidence: { cause: 'agent_session_closed' },
      });
    },
    180_000,
  );

  it.concurrent('a listener and a note-taking bot are no callers and keep no session', async () => {
    const room = 'watched-1';
    await callers.join(room, 'ann');
    await callers.join(room, 'notetaker-1');
    await callers.join(room, 'lea', { attributes: { role: 'listener' } });
    await callers.join(room, 'max', { audio: false, grant: { canPublish: false } });
    const { id } = await liveIn(room);
    await sees(id, 1);
    await callers.leave(room, 'ann');
    expect(await daemon.ended(id)).toMatchObject({ state: 'released', reason: 'callers_left' });
  });
});
