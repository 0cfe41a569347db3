/** `livekit_access`: what a LiveKit agent sees and may do at LiveKit, with real frameworks and a real server. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

/** A framework takes seconds to import on a loaded machine. */
const START_MS = 90_000;
const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'access.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'access.mjs'), 'start']],
] as const;

let livekit: LiveKit;
let daemon: Daemon | null = null;

beforeAll(async () => {
  livekit = await LiveKit.start({ logLevel: 'info' });
});
afterAll(() => livekit?.close());
afterEach(async () => {
  await daemon?.close();
  daemon = null;
});

async function start(agents: Record<string, object>, env: Record<string, string> = {}): Promise<Daemon> {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-access-'));
  const common = { protocol: 'livekit', start_timeout: '90s', agent_absent: '90s', ladder: { term: '2s' } };
  const config = {
    ...livekit.config(join(dir, 'c.sock')),
    agents: Object.fromEntries(Object.entries(agents).map(([name, one]) => [name, { ...common, ...one }])),
  };
  daemon = await new Daemon({ config, dir, env }).start();
  return daemon;
}

/** Dispatches one call, and waits until the agent has printed the last of its lines. */
async function logOf(running: Daemon, agent: string, room: string): Promise<string> {
  const { body } = await running.dispatch({ room, agent });
  const log = () => readFileSync(join(running.dir, 'state', 'workers', `${body.id}.1`, 'log'), 'utf8');
  return until(
    'the agent has done all of it',
    async () => {
      const { state, reason } = await running.session(body.id);
      if (state === 'failed') throw new Error(`${reason}: ${log().slice(-2000)}`);
      const text = await Promise.resolve()
        .then(log)
        .catch(() => '');
      return /second participant: /.test(text) ? text : null;
    },
    START_MS,
  );
}

it.runIf(HAS_LIVEKIT).each(FRAMEWORKS)(
  'a %s agent has the access to LiveKit that it has under its own runner, and registers at curfew',
  async (name, found, command) => {
    if (found === null) return;
    const running = await start({ default: { command } });
    const room = `full-${name}`;
    const log = await logOf(running, 'default', room);
    expect(log).toMatch(new RegExp(`environment: ${livekit.url}/? ${KEY}\n`));
    expect(log).toMatch(new RegExp(`module level: \\S+ ${livekit.url}/?\n`));
    expect(log).toMatch(/names: \[\]/);
    expect(log).toContain(`job url: ${livekit.url}`);
    // LiveKit itself answers, or not in time, because it has no egress service here. curfew's proxy would refuse by name.
    expect(log).toMatch(/egress: (unavailable: .*no response from servers|23: )/);
    expect(log).toContain('second participant: joined');
    expect(log).not.toContain('framework_unknown');
    const identities = (await livekit.rooms.listParticipants(room)).map(({ identity }) => identity);
    expect(identities).toContain('avatar');
    expect(livekit.log).not.toContain('worker registered');
    expect(running.stderr).not.toContain(SECRET);
  },
  150_000,
);
