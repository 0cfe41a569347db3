/** Agents that ask LiveKit to dial a phone and then fail: real server, real agents, and a supervisor that is killed meanwhile. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';

const PYTHON = findPythonAgents();
const FILES = join(ROOT, 'test/fixtures/agents');

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('an agent that dials a phone and then fails', () => {
  let livekit: LiveKit;
  let callers: Callers;
  let daemon: Daemon;
  const dir = mkdtempSync(join(tmpdir(), 'curfew-dialled-'));

  beforeAll(async () => {
    livekit = await LiveKit.start();
    callers = new Callers(livekit);
    const agent = (program: string, file: string) => ({
      command: [program, join(FILES, file), 'start'],
      protocol: 'livekit',
      env: { NOTES_DIR: dir },
      ...SLOW_START,
    });
    const agents = {
      python: agent(PYTHON ?? '', 'notes.py'),
      javascript: agent(process.execPath, 'notes.mjs'),
      session: agent(PYTHON ?? '', 'session.py'),
    };
    daemon = await new Daemon({ config: { ...livekit.config(join(dir, 'c.sock')), agents }, dir }).start();
  }, START_MS);
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const call = async (room: string, agent: string, metadata: object) => {
    await callers.join(room, 'ann');
    return (await daemon.dispatch({ room, agent, metadata })).body.id;
  };
  const notes = (room: string) => (existsSync(join(dir, room)) ? readFileSync(join(dir, room), 'utf8') : '');
  const noted = (room: string, what: string) =>
    until(`${room} notes ${what}`, () => notes(room).includes(what), START_MS);

  it('is not replaced when the supervisor was away while it dialled and raised', async () => {
    const rooms = ['python', 'javascript'];
    const metadata = { dials: '+15550100', after: 15, end: 'raise', seconds: 1 };
    const ids = await Promise.all(rooms.map((name) => call(name, name, metadata)));
    await Promise.all(rooms.map((room) => noted(room, 'connected')));
    daemon.signal('SIGKILL');
    await daemon.exited();
    await Promise.all(rooms.map((room) => noted(room, 'begin')));
    await daemon.start();
    for (const id of ids) {
      const ended = await daemon.ended(id, START_MS);
      expect(ended).toMatchObject({ state: 'failed', reason: 'crashed', restarts: 0 });
      expect(ended.evidence?.cause).toBe('exception');
      expect(ended.evidence?.detail).toContain('(not replaced: the call was dialled out)');
    }
    // Another worker would have connected and dialled again.
    for (const room of rooms) expect(notes(room).match(/connected/g)).toHaveLength(1);
  }, 300_000);

  it('is not replaced when its model refuses its key', async () => {
    const id = await call('refused', 'session', { mode: 'unauthorized', dials: '+15550100' });
    const ended = await daemon.ended(id, START_MS);
    expect(ended).toMatchObject({ state: 'failed', reason: 'crashed', restarts: 0 });
    expect(ended.evidence?.cause).toBe('agent_session_failed');
    expect(ended.evidence?.detail).toContain('(not replaced: the call was dialled out)');
  }, 200_000);
});
