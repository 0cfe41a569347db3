/** A supervisor that dies in the instant in which a session passes its claim on: real server, real agent, real caller. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Callers } from '../support/callers/callers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

const PYTHON = findPythonAgents();
const AGENT_KIND = 4;
const ROOM = 'passed-1';

describe.runIf(HAS_LIVEKIT && PYTHON !== null)(
  'a supervisor that is killed as a session passes its claim on',
  () => {
    let livekit: LiveKit;
    let daemon: Daemon;
    let callers: Callers;

    beforeAll(async () => {
      livekit = await LiveKit.start();
      callers = new Callers(livekit);
      const dir = mkdtempSync(join(tmpdir(), 'curfew-passed-'));
      daemon = new Daemon({
        dir,
        config: {
          livekit: { url: livekit.url, api_key: KEY, api_secret: SECRET },
          presence: { poll_interval: '500ms' },
          agents: {
            default: {
              command: [PYTHON, join(ROOT, 'test/fixtures/agents/notes.py'), 'start'],
              protocol: 'livekit',
              agent_name: 'passed',
              env: { NOTES_DIR: dir },
              ...SLOW_START,
              // By polls alone each departure is a loss. LiveKit closes the room of a lone agent after 20 s.
              callers_lost: '1s',
            },
          },
        },
      });
    });
    afterAll(async () => {
      callers?.kill();
      await daemon?.close();
      await livekit?.close();
    });

    const notes = () => {
      const path = join(daemon.dir, ROOM);
      const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
      return text.split('\n').map((line) => line.replace(/^\S+ /, ''));
    };
    const sessions = async () =>
      (await daemon.get<{ sessions: SessionView[] }>('/v1/sessions')).body.sessions;

    it('leaves one agent for the caller that is back, and the notes of the first one are whole', async () => {
      await daemon.start({ CURFEW_TEST: '1', CURFEW_FAILPOINT: 'claim.passed' });
      await until('the name is registered', async () =>
        (await daemon.get<CapacityView>('/v1/capacity')).body.jobs.every(
          ({ state }) => state === 'registered',
        ),
      );
      await callers.join(ROOM, 'ann');
      await livekit.dispatches.createDispatch(ROOM, 'passed', { metadata: JSON.stringify({ seconds: 5 }) });
      await until('the agent is in the room', () => notes().includes('connected'), START_MS);
      const [first] = await sessions();
      const id = first?.id ?? '';
      await daemon.becomes(id, 'seen with its caller', ({ presence }) => presence?.callers === 1);
      await callers.leave(ROOM, 'ann');
      await daemon.exited(60_000);
      await callers.join(ROOM, 'ann');
      await daemon.start();
      const second = await until(
        'the next session is live',
        async () => (await sessions()).find((one) => one.id !== id && one.state === 'live'),
        START_MS,
      );
      expect(second).toMatchObject({ rejoinOf: id, restarts: 0 });
      expect(await daemon.ended(id, START_MS)).toMatchObject({ reason: 'callers_left' });
      const count = (what: string) => notes().filter((line) => line === what).length;
      await until('the next agent is in the room', () => count('connected') === 2, START_MS);
      expect(count('done')).toBe(1);
      const agents = (await livekit.rooms.listParticipants(ROOM)).filter(({ kind }) => kind === AGENT_KIND);
      expect(agents).toHaveLength(1);
    }, 300_000);
  },
);
