/** A page that is loaded again: real server, real participants, agents of both frameworks whose notes take 20 s. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

const PYTHON = findPythonAgents();
const PLAIN = { command: [process.execPath, `${ROOT}/test/fixtures/agent.mjs`], protocol: 'curfew' };
const NOTE_SECONDS = 20;
/** Race: an AgentSession does not close itself when its caller leaves before the session has found it. */
const LINK_MS = 1500;
const AGENT_KIND = 4;
/** Because: a JavaScript AgentSession waits for a listener of its track, and its `close` does, too. */
const LISTENS = { listens: true };

describe.runIf(HAS_LIVEKIT)('a page that is loaded again', () => {
  let livekit: LiveKit;
  let callers: Callers;
  const daemons: Daemon[] = [];
  const notesDir = mkdtempSync(join(tmpdir(), 'curfew-notes-'));

  /** LiveKit sends its webhooks to one supervisor alone. The others poll. */
  const open = async (agents: object, limits: object = {}, hasWebhooks = false): Promise<Daemon> => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-reloads-'));
    const config = {
      livekit: { url: livekit.url, api_key: KEY, api_secret: SECRET },
      ...(hasWebhooks && livekit.config(join(dir, 'c.sock'))),
      presence: { poll_interval: '1s' },
      limits: { start_rate: '100/s', ...limits },
      agents: Object.fromEntries(Object.entries(agents).filter(([, agent]) => agent !== null)),
    };
    const opened = new Daemon({ config, dir });
    daemons.push(opened);
    return opened.start();
  };

  const framework = (command: string[], more: object) => ({
    command: [...command, 'start'],
    protocol: 'livekit',
    ...SLOW_START,
    callers_left: '10s',
    callers_lost: '10s',
    ...more,
  });
  const python = (file: string, more: object) =>
    PYTHON === null ? null : framework([PYTHON, join(ROOT, 'test/fixtures/agents', file)], more);
  let daemon: Daemon;
  let polling: Daemon;
  let full: Daemon;

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const quick = { ...PLAIN, callers_left: '300ms', callers_lost: '1s' };
    const agents = {
      plain: PLAIN,
      over: { ...quick, rooms: 'over-*', max_duration: '4s' },
      python: python('session.py', { agent_name: 'python', warm: 1 }),
      dials: python('notes.py', { env: { NOTES_DIR: notesDir } }),
    };
    daemon = await open(agents, { per_user: 2, queue: 0 }, true);
    const javascript = [process.execPath, join(ROOT, 'test/fixtures/agents/session.mjs')];
    polling = await open({
      javascript: framework(javascript, { agent_name: 'javascript', warm: 1 }),
      slow: python('session.py', { agent_name: 'slow' }),
    });
    full = await open({ few: { ...quick, rooms: 'few-*' } }, { sessions: 2 });
  }, START_MS);
  afterAll(async () => {
    callers?.kill();
    await Promise.all(daemons.map((one) => one.close()));
    await livekit?.close();
    rmSync(notesDir, { recursive: true, force: true });
  });

  const sessionsIn = async (daemon: Daemon, room: string) =>
    (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions
      .filter((one) => one.room === room)
      .sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
  const live = (daemon: Daemon, room: string, count: number, boundMs = 30_000) =>
    until(
      `session ${count} is live in ${room}`,
      async () => {
        const last = (await sessionsIn(daemon, room))[count - 1];
        return last?.state === 'live' ? last : null;
      },
      boundMs,
    );
  const says = (daemon: Daemon, id: string, line: string) =>
    until(
      `the agent says "${line}"`,
      async () => (await daemon.get<string>(`/v1/sessions/${id}/logs`)).body.includes(line),
      START_MS,
    );
  const sees = (daemon: Daemon, id: string, count: number) =>
    until(
      `${count} callers are seen`,
      async () => (await daemon.session(id)).presence?.callers === count,
      30_000,
    );

  /** Resolves with the id of the agent's participant that joined after this time. */
  const agentSince = (room: string, sinceMs: number) =>
    until(
      'the next agent is in the room',
      async () => {
        const there = await livekit.rooms.listParticipants(room);
        return there.find(({ kind, joinedAtMs }) => kind === AGENT_KIND && Number(joinedAtMs) >= sinceMs);
      },
      START_MS,
    );

  interface Page {
    readonly daemon: Daemon;
    readonly room: string;
    readonly agent: string;
    readonly metadata: object;
    /** The line of the agent's log after which it hears its caller. */
    readonly listens: string;
    readonly awayMs: number;
  }

  /** A caller of an agent of LiveKit's dispatch, whose page is loaded again. Returns the sessions before and after that. */
  async function reload(page: Page): Promise<[SessionView, SessionView]> {
    const { daemon, room, agent, metadata, awayMs } = page;
    await callers.join(room, 'ann', LISTENS);
    await livekit.dispatches.createDispatch(room, agent, { metadata: JSON.stringify(metadata) });
    const first = await live(daemon, room, 1, START_MS);
    await says(daemon, first.id, page.listens);
    await sees(daemon, first.id, 1);
    await pause(LINK_MS);
    await callers.leave(room, 'ann');
    await pause(awayMs);
    const backMs = Date.now();
    await callers.join(room, 'ann', LISTENS);
    const joinedMs = Date.now();
    await agentSince(room, backMs);
    console.log(`${room}: the next agent was there ${Date.now() - joinedMs} ms after the return`);
    const second = await live(daemon, room, 2);
    expect(second).toMatchObject({ rejoinOf: first.id });
    return [first, second];
  }

  /** The session before ends in order, and its agent has written all its notes. */
  async function expectNotes(daemon: Daemon, { id }: SessionView): Promise<void> {
    const ended = await daemon.ended(id, 90_000);
    expect(ended).toMatchObject({ state: 'released', evidence: { cause: 'agent_session_closed' } });
    expect(ended.evidence?.ladder.find(({ step }) => step === 'aclose')).toMatchObject({ outcome: 'done' });
    await says(daemon, id, 'notes written');
  }

  it.runIf(PYTHON !== null).concurrent(
    "finds the next agent of Python while the first one writes its notes, and the user's limit of 2 does not count that one",
    async () => {
      await daemon.dispatch({ room: 'other', agent: 'plain', user: 'u1' });
      const metadata = { notes: NOTE_SECONDS, curfew: { user: 'u1' } };
      const page = { daemon, room: 'python', agent: 'python', metadata, awayMs: 5000 };
      const [first] = await reload({ ...page, listens: 'caller linked' });
      expect(await daemon.session(first.id)).toMatchObject({ state: 'closing' });
      // The other call and the next session of this one.
      const { status, body } = await daemon.dispatch({ room: 'third', agent: 'plain', user: 'u1' });
      expect([status, body]).toMatchObject([429, { code: 'at_capacity', limit: 'user:u1', used: 2 }]);
      await expectNotes(daemon, first);
    },
    300_000,
  );

  it.concurrent('finds the next agent of JavaScript, by polls alone', async () => {
    const metadata = { notes: NOTE_SECONDS };
    const page = { daemon: polling, room: 'javascript', agent: 'javascript', metadata, awayMs: 5000 };
    const [first] = await reload({ ...page, listens: 'session started' });
    await expectNotes(polling, first);
  }, 300_000);

  it.runIf(PYTHON !== null).concurrent(
    'before its AgentSession has closed finds the next agent, too',
    async () => {
      const metadata = { exit: 5, notes: 1 };
      const page = { daemon: polling, room: 'slow', agent: 'slow', metadata, awayMs: 1500 };
      const [first] = await reload({ ...page, listens: 'caller linked' });
      await expectNotes(polling, first);
    },
    300_000,
  );

  it.concurrent('finds none on a full host and during a drain, and one as soon as the host has a place again', async () => {
    const fill = async (room: string) => (await full.dispatch({ room, agent: 'few' })).body.id;
    await fill('stays');
    const room = 'few-1';
    await callers.join(room, 'ann');
    const first = await live(full, room, 1);
    await sees(full, first.id, 1);
    await callers.leave(room, 'ann');
    await full.ended(first.id);
    const last = await fill('last-place');
    await callers.join(room, 'ann');
    await untilPolled(full, last, 4);
    expect(await sessionsIn(full, room)).toMatchObject([{ id: first.id }]);
    await full.release(last);
    const second = await live(full, room, 2);
    expect(second).toMatchObject({ rejoinOf: first.id });
    await sees(full, second.id, 1);
    await full.call('POST', '/v1/drain', {});
    await callers.leave(room, 'ann');
    await full.ended(second.id);
    await callers.join(room, 'ann');
    const [stays] = await sessionsIn(full, 'stays');
    await untilPolled(full, stays?.id ?? '', 4);
    expect(await sessionsIn(full, room)).toHaveLength(2);
    await full.call('POST', '/v1/undrain', {});
    expect(await live(full, room, 3)).toMatchObject({ rejoinOf: second.id });
  }, 120_000);

  it.concurrent('finds none after the maximum duration', async () => {
    const room = 'over-1';
    await callers.join(room, 'ann');
    const id = await until('a session begins', async () => (await sessionsIn(daemon, room))[0]?.id, 30_000);
    expect(await daemon.ended(id, 60_000)).toMatchObject({ reason: 'max_duration' });
    await callers.leave(room, 'ann');
    await callers.join(room, 'ann');
    const { body } = await daemon.dispatch({ room: 'clock', agent: 'plain' });
    await untilPolled(daemon, body.id, 4);
    expect(await sessionsIn(daemon, room)).toMatchObject([{ id }]);
  }, 120_000);

  it.runIf(PYTHON !== null).concurrent(
    'is not needed after an outbound call whose agent raised: no other agent dials again',
    async () => {
      const room = 'outbound';
      await callers.join(room, 'phone', { kind: 'sip', attributes: { 'sip.callStatus': 'ringing' } });
      const metadata = { end: 'raise', after: 3, seconds: 1 };
      const { body } = await daemon.dispatch({ room, agent: 'dials', metadata });
      const ended = await daemon.ended(body.id, START_MS);
      expect(ended).toMatchObject({ state: 'failed', reason: 'crashed', restarts: 0 });
      expect(ended.evidence?.detail).toContain('not replaced');
    },
    300_000,
  );

  /** By then curfew has polled each room so many times. */
  const untilPolled = async (daemon: Daemon, id: string, polls: number) => {
    const start = Date.now();
    await until(`${polls} polls`, async () => {
      const asOf = Date.parse((await daemon.session(id)).presence?.asOf ?? '');
      return asOf > start + polls * 1000;
    });
  };
});
