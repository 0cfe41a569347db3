/** How a job ends: the framework says when, and shutdown callbacks run to their end. Real frameworks, server and callers. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const NOTE_SECONDS = 15;
const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'notes.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'notes.mjs'), 'start']],
] as const;

describe.each(FRAMEWORKS)('the job of a %s agent', (framework, found, command) => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;
  const dir = mkdtempSync(join(tmpdir(), 'curfew-endings-'));
  const isRun = HAS_LIVEKIT && found !== null;

  beforeAll(async () => {
    if (!isRun) return;
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const agent = { command, protocol: 'livekit', env: { NOTES_DIR: dir }, ...SLOW_START };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      limits: { start_rate: '100/s' },
      agents: {
        default: { ...agent, agent_name: 'notes', ladder: { aclose: '30s' }, callers_left: '300ms' },
      },
    };
    daemon = await new Daemon({ config, dir }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const notes = (room: string) =>
    existsSync(join(dir, room)) ? readFileSync(join(dir, room), 'utf8').trim().split('\n') : [];
  const said = (room: string) => notes(room).map((line) => line.replace(/^\S+ /, ''));
  const connected = (room: string) =>
    until(`the agent is in ${room}`, () => said(room).includes('connected'), START_MS);
  const WHOLE = [
    'connected',
    'begin',
    ...Array.from({ length: NOTE_SECONDS }, (_, second) => `${second + 1}`),
    'done',
  ];

  /** Dispatches a call that a caller waits in, and returns when its agent is connected. */
  async function begin(room: string, metadata: object, limits: object = {}): Promise<string> {
    await callers.join(room, 'ann');
    const { body } = await daemon.dispatch({ room, metadata: { ...metadata }, limits });
    await connected(room);
    await daemon.reaches(body.id, ['live', 'closing']);
    return body.id;
  }

  /** The session's end, with the notes that the agent wrote until then. */
  async function endOf(id: string, room: string): Promise<SessionView & { notes: string[] }> {
    return { ...(await daemon.ended(id, 90_000)), notes: said(room) };
  }

  it.runIf(isRun)(
    'writes its notes to the end in each way a call can end, and the room does not wait for them',
    async () => {
      const acloseOf = ({ evidence }: SessionView) => evidence?.ladder.find((one) => one.step === 'aclose');
      const hangUp = async () => {
        const id = await begin('hang-up', {});
        await callers.leave('hang-up', 'ann');
        const seen = await endOf(id, 'hang-up');
        expect(seen).toMatchObject({ state: 'released', reason: 'callers_left', notes: WHOLE });
        expect(acloseOf(seen)).toMatchObject({ outcome: 'done' });
      };
      const deleteRoom = async () => {
        const id = await begin('delete-room', { end: 'delete_room', after: 2 });
        expect(await endOf(id, 'delete-room')).toMatchObject({
          // The grace after a hang-up is short here, so it may be over before LiveKit's word about the room.
          reason: expect.stringMatching(/^(room_finished|callers_left)$/),
          notes: WHOLE,
        });
      };
      const shutDown = async () => {
        const id = await begin('shutdown', { end: 'shutdown', after: 2 });
        // Its entrypoint raises after that, which the framework only logs.
        const seen = await endOf(id, 'shutdown');
        expect(seen).toMatchObject({ reason: 'completed', restarts: 0, notes: WHOLE });
      };
      const release = async () => {
        const id = await begin('release', {});
        await daemon.release(id);
        expect(await endOf(id, 'release')).toMatchObject({ reason: 'requested', notes: WHOLE });
      };
      await Promise.all([hangUp(), deleteRoom(), shutDown(), release()]);
      expect(marked(daemon.instanceId())).toEqual([]);
    },
    240_000,
  );

  it.runIf(isRun)(
    'that raises an exception has crashed with its text, and is replaced once',
    async () => {
      const raise = async (room: string, metadata: object) => {
        await callers.join(room, 'ann');
        const { body } = await daemon.dispatch({ room, metadata: { ...metadata, seconds: 1 } });
        return daemon.ended(body.id, 120_000);
      };
      // The rule is curfew's own, so each framework plays a part. The conformance suite plays all of them in Python.
      const kinds =
        framework === 'Python'
          ? [
              { end: 'raise_first', text: 'broken before the connection' },
              { end: 'panic', text: 'broken in an extension' },
            ]
          : [{ end: 'raise', text: 'broken after the connection' }];
      const ends = await Promise.all(kinds.map(({ end }) => raise(end, { end, after: 2 })));
      for (const [index, { text }] of kinds.entries()) {
        expect(ends[index]).toMatchObject({ state: 'failed', reason: 'crashed', restarts: 1 });
        expect(ends[index]?.evidence?.detail).toContain(text);
        expect(ends[index]?.evidence?.detail).toContain('not replaced: it was replaced before');
      }
    },
    300_000,
  );
});
