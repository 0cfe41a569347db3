/** Shutdown callbacks after SIGTERM to the main process: which of them are whole, and what the evidence says of the others. */
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

const FILES = join(ROOT, 'test/fixtures/agents');
const COMMANDS = {
  python: [findPythonAgents() ?? '', join(FILES, 'notes.py'), 'start'],
  javascript: [process.execPath, join(FILES, 'notes.mjs'), 'start'],
};
const isRun = HAS_LIVEKIT && findPythonAgents() !== null;

describe('a shutdown callback', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let callers: Callers;
  const dir = mkdtempSync(join(tmpdir(), 'curfew-cuts-'));

  beforeAll(async () => {
    if (!isRun) return;
    livekit = await LiveKit.start({ logLevel: 'info' });
    callers = new Callers(livekit);
    const agent = (command: readonly string[], ladder: object) => ({
      command,
      protocol: 'livekit',
      env: { NOTES_DIR: dir },
      ...SLOW_START,
      wrap_up: '2s',
      callers_left: '300ms',
      ladder: { aclose: '2s', ...ladder },
    });
    const busy = (command: readonly string[], ladder: object) => ({
      ...agent(command, ladder),
      wrap_up: '60s',
    });
    daemon = await new Daemon({
      config: {
        ...livekit.config(join(dir, 'c.sock')),
        presence: { poll_interval: '500ms' },
        limits: { start_rate: '100/s' },
        agents: {
          default: agent(COMMANDS.python, {}),
          'python-long': agent(COMMANDS.python, { term: '30s' }),
          'python-short': agent(COMMANDS.python, { term: '3s' }),
          // SIGTERM to each process: the job's process must leave it to the main process.
          'python-all-long': agent(COMMANDS.python, { term: '30s', signal: 'all' }),
          'python-busy': busy(COMMANDS.python, { aclose: '2s', term: '3s' }),
          'javascript-busy': busy(COMMANDS.javascript, { aclose: '2s', term: '3s' }),
          'python-raises': busy(COMMANDS.python, { aclose: '20s', term: '2s' }),
          'javascript-raises': busy(COMMANDS.javascript, { aclose: '20s', term: '2s' }),
          'javascript-long': agent(COMMANDS.javascript, { term: '30s' }),
          'javascript-short': agent(COMMANDS.javascript, { term: '3s' }),
        },
      },
      dir,
    }).start();
  });
  afterAll(async () => {
    callers?.kill();
    await daemon?.close();
    await livekit?.close();
  });

  const said = (room: string) =>
    existsSync(join(dir, room))
      ? readFileSync(join(dir, room), 'utf8')
          .trim()
          .split('\n')
          .map((line) => line.replace(/^\S+ /, ''))
      : [];
  const steps = ({ evidence }: SessionView) =>
    (evidence?.ladder ?? [])
      .filter(({ step }) => step === 'aclose' || step === 'term' || step === 'kill')
      .map(({ step, outcome, detail }) => [step, outcome, detail ?? null]);

  async function hungUp(agent: string): Promise<SessionView> {
    await callers.join(agent, 'ann');
    const { body } = await daemon.dispatch({ room: agent, agent, metadata: { seconds: 10 } });
    await until(`the agent is in ${agent}`, () => said(agent).includes('connected'), START_MS);
    await daemon.reaches(body.id, ['live', 'closing']);
    await callers.leave(agent, 'ann');
    return daemon.ended(body.id, 90_000);
  }

  async function released(agent: string, metadata: object): Promise<SessionView> {
    await callers.join(agent, 'ann');
    const { body } = await daemon.dispatch({ room: agent, agent, metadata });
    await until(`the agent is in ${agent}`, () => said(agent).includes('connected'), START_MS);
    await daemon.reaches(body.id, ['live']);
    await daemon.release(body.id);
    return daemon.ended(body.id, 90_000);
  }

  it.runIf(isRun)(
    'is whole after a release beside a caller while the entrypoint still runs, and when it raises meanwhile',
    async () => {
      const ends = await Promise.all([
        released('python-busy', { after: 8, seconds: 6 }),
        released('javascript-busy', { after: 8, seconds: 6 }),
        released('python-raises', { end: 'raise', after: 3, seconds: 8 }),
        released('javascript-raises', { end: 'raise', after: 3, seconds: 8 }),
      ]);
      for (const end of ends) {
        expect(end, end.agent).toMatchObject({ reason: 'requested' });
        expect(said(end.agent).at(-1), end.agent).toBe('done');
        expect(JSON.stringify(steps(end)), end.agent).not.toContain('were cut');
      }
      expect(marked(daemon.instanceId())).toEqual([]);
    },
    240_000,
  );

  it.runIf(isRun)(
    'that outlasts wrap_up has the bound of ladder.term after SIGTERM, and the evidence says whether it was cut',
    async () => {
      const names = ['python-long', 'python-all-long', 'javascript-long', 'python-short', 'javascript-short'];
      const ends = await Promise.all(names.map(hungUp));
      const late = [
        'aclose',
        'timeout',
        expect.stringMatching(/^the job was still running after \d+ s .bound: wrap_up, \d+ s.$/),
      ];
      for (const [index, name] of names.entries()) {
        const isWhole = name.endsWith('long');
        expect(said(name).at(-1) === 'done', name).toBe(isWhole);
        expect(ends[index], name).toMatchObject({ reason: 'callers_left' });
        expect(ends[index] && steps(ends[index]), name).toEqual(
          isWhole
            ? [
                late,
                [
                  'term',
                  'exited',
                  name === 'python-all-long' ? expect.any(String) : 'the job ended in this time',
                ],
              ]
            : [
                late,
                ['term', 'timeout', 'the job was still running; its shutdown callbacks were cut'],
                ['kill', 'exited', null],
              ],
        );
      }
      expect(marked(daemon.instanceId())).toEqual([]);
    },
    240_000,
  );
});
