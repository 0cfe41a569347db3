/** The example agents for LiveKit and a caller that speaks: real frameworks, real pipelines, real audio. */
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { Speakers } from '../support/callers/speakers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { jobProcessOf, SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';
import type { Keeper } from '../support/processes/keeper.ts';
import { keepChild } from '../support/processes/keeper.ts';
import { marked } from '../support/processes/marked-processes.ts';

const ERROR_LIMIT = 5;
/** LiveKit's framework closes its AgentSession after this many errors in a row. */
const LIVEKIT_ERROR_LIMIT = 4;
const EXAMPLES = join(ROOT, 'examples/livekit-agents');
/** The caller's words, in Hz: the examples understand one tone as one sentence. */
const UNSPEAKABLE = 220;
const HELLO = 440;
const WHERE_IS_MY_ORDER = 880;
const WHERE_IS_MY_LOST_ORDER = 1320;

const PYTHON = findPythonAgents();
const FRAMEWORKS = [
  ['Python', PYTHON, [PYTHON ?? '', join(EXAMPLES, 'agent.py')], ['dev', '--no-reload']],
  ['JavaScript', 'node', [process.execPath, join(EXAMPLES, 'agent.mjs')], ['dev']],
] as const;

describe.each(FRAMEWORKS)('the %s example without curfew', (name, found, command, dev) => {
  let livekit: LiveKit;
  let speakers: Speakers;
  let agent: DirectAgent;

  beforeEach(async () => {
    livekit = await LiveKit.start();
    speakers = new Speakers(livekit);
    agent = startDirectly([...command, ...dev], livekit);
  });
  afterEach(async () => {
    speakers.close();
    await agent.keeper.end();
    await livekit.close();
  });

  it.runIf(HAS_LIVEKIT && found !== null)(
    `the ${name} example answers a caller by LiveKit's own dispatch`,
    async () => {
      onTestFailed(() => console.error(agent.output()));
      await until('the agent is registered', () => agent.output().includes('registered worker'), START_MS);
      await speakers.join('r');
      await speakers.converse('r', HELLO);
      expect(agent.output()).not.toMatch(/curfew kit/);
    },
  );
});

interface DirectAgent {
  readonly keeper: Keeper;
  readonly output: () => string;
}

function startDirectly(command: readonly string[], livekit: LiveKit): DirectAgent {
  const { PATH = '', HOME = '/' } = process.env;
  const access = { LIVEKIT_URL: livekit.url, LIVEKIT_API_KEY: KEY, LIVEKIT_API_SECRET: SECRET };
  const child = spawn(command[0] ?? '', command.slice(1), {
    env: { PATH, HOME, ...access },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  const keeper = keepChild(child, 'group');
  return { keeper, output: () => output };
}

describe.each(FRAMEWORKS)('the %s example under curfew', (name, found, command) => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let speakers: Speakers;
  let id: string;

  beforeEach(async () => {
    livekit = await LiveKit.start();
    speakers = new Speakers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-examples-'));
    const agent = {
      command: [...command, 'start'],
      protocol: 'livekit',
      ...SLOW_START,
      callers_left: '300ms',
      heartbeat_stale: '5s',
      ladder: { term: '2s' },
    };
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      presence: { poll_interval: '500ms' },
      agents: { default: agent },
    };
    daemon = await new Daemon({ config, dir }).start();
    await speakers.join('r');
    id = (await daemon.dispatch({ room: 'r' })).body.id;
  });
  afterEach(async () => {
    speakers.close();
    await daemon?.close();
    await livekit.close();
  });

  const session = () => daemon.session(id);
  const replaced = (restarts: number) => daemon.replaced(id, restarts, START_MS);
  const kill = (pid: number | null) => {
    if (pid === null) throw new Error('there is no process');
    process.kill(pid, 'SIGKILL');
  };

  describe.runIf(HAS_LIVEKIT && found !== null)('with a caller', () => {
    it(`the ${name} example answers its caller, uses its tool, and ends soon after the hang-up`, async () => {
      await speakers.converse('r', HELLO);
      await speakers.converse('r', WHERE_IS_MY_ORDER);
      const isArmed = ({ deadlines }: SessionView) => deadlines.some((one) => one.kind === 'idle_timeout');
      const { restarts, errors } = await daemon.becomes(id, 'armed by the first activity', isArmed);
      expect({ restarts, errors: errors.total }).toEqual({ restarts: 0, errors: 0 });
      await speakers.leave('r');
      const ended = await daemon.ended(id);
      expect(ended).toMatchObject({ state: 'released', reason: 'callers_left' });
      expect(marked(daemon.instanceId())).toEqual([]);
    });

    it(`the ${name} example is replaced when its tool blocks the event loop, and the log names the tool`, async () => {
      await speakers.converse('r', HELLO);
      await speakers.speakUntil('r', WHERE_IS_MY_LOST_ORDER, () =>
        /curfew kit: stack/.test(daemon.workerLogs()),
      );
      await replaced(1);
      expect(daemon.workerLogs()).toMatch(/curfew kit: stack[\s\S]*search_?[eE]verywhere/);
      expect(await session()).toMatchObject({ state: 'live', errors: { consecutive: 1 } });
      await speakers.converse('r', HELLO);
    });

    it(`the ${name} example answers again in its room after a SIGKILL of its worker, and of its job alone`, async () => {
      await speakers.converse('r', HELLO);
      kill((await session()).pid);
      await replaced(1);
      await speakers.converse('r', HELLO);
      kill(jobProcessOf(marked(daemon.instanceId())));
      await replaced(2);
      await speakers.converse('r', HELLO);
    });

    it(`the ${name} example fails as error_limit when its LLM stays down`, async () => {
      await speakers.converse('r', HELLO);
      await speakers.speakUntil('r', UNSPEAKABLE, async () => (await session()).endedAt !== null);
      const ended = await session();
      expect(ended).toMatchObject({ state: 'failed', reason: 'error_limit' });
      expect(ended.errors.total).toBeGreaterThanOrEqual(LIVEKIT_ERROR_LIMIT);
    });

    // The rule is curfew's own, so one framework is enough.
    if (name !== 'Python') return;
    it(`the ${name} example fails as error_limit after five crashes in a row`, async () => {
      for (let restarts = 0; restarts < ERROR_LIMIT; restarts += 1) {
        await daemon.reaches(id, ['live'], START_MS);
        kill((await replaced(restarts)).pid);
      }
      const ended = await daemon.ended(id);
      expect(ended).toMatchObject({ state: 'failed', reason: 'error_limit' });
      expect(marked(daemon.instanceId())).toEqual([]);
    });
  });
});
