/** The Pipecat example and a caller that speaks: the real framework on its LiveKit transport, real audio. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Speakers } from '../support/callers/speakers.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, LiveKit } from '../support/livekit/livekit-server.ts';
import { marked } from '../support/processes/marked-processes.ts';

const ERROR_LIMIT = 2;
/** The caller's words, in Hz: the example understands one tone as one sentence. */
const UNSPEAKABLE = 220;
const HELLO = 440;
const WHERE_IS_MY_LOST_ORDER = 1320;

const PYTHON = findPythonAgents();

describe.runIf(HAS_LIVEKIT && PYTHON !== null)('the Pipecat example under curfew', () => {
  let livekit: LiveKit;
  let daemon: Daemon;
  let speakers: Speakers;
  let id: string;

  beforeEach(async () => {
    livekit = await LiveKit.start();
    speakers = new Speakers(livekit);
    const dir = mkdtempSync(join(tmpdir(), 'curfew-examples-'));
    const agent = {
      command: [PYTHON ?? '', join(ROOT, 'examples/pipecat/agent.py')],
      protocol: 'curfew',
      ...SLOW_START,
      callers_left: '300ms',
      heartbeat_stale: '5s',
      error_limit: ERROR_LIMIT,
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
    await daemon.close();
    await livekit.close();
  });

  it('the Pipecat example answers its caller, and ends soon after the hang-up', async () => {
    await speakers.converse('r', HELLO);
    await speakers.leave('r');
    const ended = await daemon.ended(id, START_MS);
    expect(ended).toMatchObject({
      state: 'released',
      reason: 'callers_left',
      restarts: 0,
      errors: { total: 0 },
    });
    expect(marked(daemon.instanceId())).toEqual([]);
  });

  it('the Pipecat example answers again after it was killed', async () => {
    await speakers.converse('r', HELLO);
    process.kill((await daemon.session(id)).pid ?? 0, 'SIGKILL');
    await daemon.replaced(id, 1, START_MS);
    await speakers.converse('r', HELLO);
  });

  it('the Pipecat example is replaced when it blocks its event loop', async () => {
    await speakers.converse('r', HELLO);
    await speakers.speakUntil('r', WHERE_IS_MY_LOST_ORDER, () =>
      /curfew kit: stack/.test(daemon.workerLogs()),
    );
    await daemon.replaced(id, 1, START_MS);
    await speakers.converse('r', HELLO);
  });

  it('the Pipecat example fails as error_limit when its LLM stays down', async () => {
    await speakers.converse('r', HELLO);
    await speakers.speakUntil('r', UNSPEAKABLE, async () => (await daemon.session(id)).endedAt !== null);
    const ended = await daemon.session(id);
    expect(ended).toMatchObject({ state: 'failed', reason: 'error_limit' });
    expect(ended.errors.total).toBeGreaterThanOrEqual(ERROR_LIMIT);
  });
});
