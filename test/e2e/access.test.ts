/** `livekit_access`: what a LiveKit agent sees and may do at LiveKit, with real frameworks and a real server. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { BELOW, findFramework, OLDEST } from '../../scripts/framework-versions.mjs';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import { freePorts } from '../support/lib/free-ports.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, SECRET } from '../support/livekit/livekit-server.ts';

const FILES = join(ROOT, 'test/fixtures/agents');
const FRAMEWORKS = [
  ['Python', findPythonAgents(), [findPythonAgents() ?? '', join(FILES, 'access.py'), 'start']],
  ['JavaScript', 'node', [process.execPath, join(FILES, 'access.mjs'), 'start']],
] as const;

const AT_ONCE = 3;
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
  const common = {
    protocol: 'livekit',
    ...SLOW_START,
    no_caller: '10m',
    ladder: { term: '2s' },
  };
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
  const log = async () => (await running.get<string>(`/v1/sessions/${body.id}/logs`)).body;
  return until(
    'the agent has done all of it',
    async () => {
      const { state, reason } = await running.session(body.id);
      const text = String(await log());
      if (!/second participant: /.test(text))
        throw new Error(`${agent}: ${state}, ${reason}: ${text.slice(-2000)}`);
      return text;
    },
    START_MS,
  );
}

it.runIf(HAS_LIVEKIT).each(FRAMEWORKS)(
  'a %s agent has the access to LiveKit that it has under its own runner, and registers at curfew',
  async (name, found, command) => {
    if (found === null) return;
    const running = await start({
      default: { command },
      // The other agents of this file leave the key out, which means the same.
      warm: { command, warm: 1, livekit_access: 'full' },
    });
    const room = `full-${name}`;
    const log = await logOf(running, 'default', room);
    await until(
      'a worker is warm',
      async () => (await running.get<CapacityView>('/v1/capacity')).body.warm[0]?.ready === 1,
      START_MS,
    );
    const warmLog = await logOf(running, 'warm', `warm-${name}`);
    for (const one of [log, warmLog])
      expect(one).toMatch(new RegExp(`environment: ${livekit.url}/? ${KEY}\n`));
    expect(warmLog).toContain('second participant: joined');
    expect(warmLog).not.toContain('framework_unknown');
    expect(log).toMatch(new RegExp(`module level: \\S+ ${livekit.url}/?\n`));
    expect(log).toMatch(/names: \[\]/);
    expect(log).toContain(`job url: ${livekit.url}`);
    // LiveKit itself answers, or not in time, because it has no egress service here. curfew's proxy would refuse by name.
    expect(log).toMatch(/egress: (unavailable: .*no response from servers|no answer in time)/);
    expect(log).toContain('second participant: joined');
    expect(log).not.toContain('framework_unknown');
    const identities = (await livekit.rooms.listParticipants(room)).map(({ identity }) => identity);
    expect(identities).toContain('avatar');
    expect(livekit.log).not.toContain('worker registered');
    expect(running.stderr).not.toContain(SECRET);
  },
  200_000,
);

/** Each way in which an agent may come to LiveKit's own address and keys. `full`: the launcher is loaded and knows the framework. */
function waysIn(): { name: string; command: string[]; keys?: string; full: boolean }[] {
  const python = findPythonAgents();
  const [py, js] = [join(FILES, 'access.py'), join(FILES, 'access.mjs')];
  const [parentPy, parentJs] = [join(FILES, 'starts-agent.py'), join(FILES, 'starts-agent.mjs')];
  const ofPython = (
    name: string,
    program: string | null,
    more: { args?: string[]; keys?: string; full: boolean },
  ) => (program === null ? [] : [{ name, command: [program, ...(more.args ?? []), py, 'start'], ...more }]);
  const node = process.execPath;
  const clear = ['env', '-u', 'PYTHONPATH', '-u', 'NODE_OPTIONS'];
  return [
    ...ofPython('py10', findFramework(BELOW), { full: true }),
    ...ofPython('py12', findFramework(OLDEST[0] ?? ''), { keys: 'arguments', full: true }),
    ...ofPython('isolated', python, { args: ['-I'], full: false }),
    ...(python === null
      ? []
      : [
          { name: 'pycleared', command: [...clear, python, py, 'start'], full: false },
          { name: 'pyarguments', command: [python, py, 'start'], keys: 'arguments', full: true },
          { name: 'pymodule', command: [python, py, 'start'], keys: 'module', full: true },
        ]),
    ...(python === null
      ? []
      : [
          { name: 'pyparent', command: [python, parentPy, python, py, 'start'], full: true },
          { name: 'pyparentisolated', command: [python, parentPy, python, '-I', py, 'start'], full: false },
        ]),
    { name: 'jsparent', command: [node, parentJs, node, js, 'start'], full: true },
    { name: 'jsparentcleared', command: [node, parentJs, ...clear, node, js, 'start'], full: false },
    { name: 'jscleared', command: [...clear, node, js, 'start'], full: false },
    { name: 'jsarguments', command: [node, js, 'start'], keys: 'arguments', full: true },
    { name: 'jsmodule', command: [node, js, 'start'], keys: 'module', full: true },
  ];
}

it.runIf(HAS_LIVEKIT)(
  'no version, wrapper or key in the code lets an agent register at LiveKit itself, and an agent without the launcher runs as room',
  async () => {
    const ways = waysIn();
    const ports = await freePorts(ways.length);
    const own = { TEST_LIVEKIT_URL: livekit.url, TEST_LIVEKIT_API_KEY: KEY, TEST_LIVEKIT_API_SECRET: SECRET };
    const agents = ways.map(({ name, command, keys }) => {
      const env = { TEST_PORT: String(ports.pop()), ...(keys !== undefined && { ...own, TEST_KEYS: keys }) };
      return [name, { command, env, livekit_access: 'full' }] as const;
    });
    const running = await start(Object.fromEntries(agents));
    const logs: { name: string; full: boolean; log: string }[] = [];
    // Because: more agents would wait for each other's imports.
    for (let first = 0; first < ways.length; first += AT_ONCE) {
      const some = ways.slice(first, first + AT_ONCE);
      const asked = some.map(async ({ name, full }) => ({
        name,
        full,
        log: await logOf(running, name, `way-${name}`),
      }));
      logs.push(...(await Promise.all(asked)));
    }
    for (const { name, full, log } of logs) {
      expect(log.includes('framework_unknown'), `${name}: ${log}`).toBe(!full);
      expect(log, name).toMatch(
        full
          ? /egress: (unavailable|no answer in time)/
          : /egress: permission_denied: .*livekit_access: full/,
      );
      expect(log, name).toMatch(full ? /second participant: joined/ : /second participant: (?!joined)/);
    }
    expect(livekit.log).not.toContain('worker registered');
    const told = running.stderr.split('\n').filter((line) => line.includes('framework_unknown'));
    expect(told).toHaveLength(ways.filter(({ full }) => !full).length);
  },
  400_000,
);
