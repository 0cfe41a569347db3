/** The launchers' attachment to an AgentSession whose framework is a substitute, on the real control socket. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LATER_TYPES } from '../../src/core/model/control-protocol.ts';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import type { KitServer } from '../support/workers/kit-rig.ts';
import { KitRig, receivedTypes } from '../support/workers/kit-rig.ts';

const KIT = pathToFileURL(join(ROOT, 'kits/node/curfew.mjs')).href;
const FRAMEWORK = 'node_modules/@livekit/agents/dist/voice/agent_session';
const SESSION = 'class AgentSession extends EventEmitter { async start() { return "started"; } }';
const JOB = `
const session = new AgentSession();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const retried = { type: 'llm_error', label: 'made-up.LLM', error: new Error('llm is down'), recoverable: true };
(async () => {
  console.log(await session.start());
  if (process.env.MODE === 'own') {
    await pause(500);
    (await import(${JSON.stringify(KIT)})).attach(session);
    await pause(1000);
  }
  let fate = 'nobody listens, so it is thrown';
  try {
    session.emit('error', { error: retried });
    fate = 'somebody listens';
  } catch {}
  if (process.env.MODE === 'plain') console.log(fate);
  session.emit('conversation_item_added', { item: { role: 'user' } });
  await pause(500);
  session.emit('close', { reason: 'error', error: retried });
  setInterval(() => {}, 1000);
})();
`;

let rig: KitRig;
let dir: string;

beforeEach(() => {
  rig = new KitRig();
  dir = mkdtempSync(join(tmpdir(), 'curfew-launcher-'));
  mkdirSync(join(dir, FRAMEWORK, '..'), { recursive: true });
  const esm = `import { EventEmitter } from 'node:events';\n${SESSION}\nexport { AgentSession };\n`;
  const cjs = `const { EventEmitter } = require('node:events');\n${SESSION}\nmodule.exports = { AgentSession };\n`;
  writeFileSync(join(dir, `${FRAMEWORK}.js`), esm);
  writeFileSync(join(dir, `${FRAMEWORK}.cjs`), cjs);
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  writeFileSync(join(dir, 'job.mjs'), `import { AgentSession } from './${FRAMEWORK}.js';${JOB}`);
  writeFileSync(join(dir, 'job.cjs'), `const { AgentSession } = require('./${FRAMEWORK}.cjs');${JOB}`);
});
afterEach(async () => {
  await rig.close();
  rmSync(dir, { recursive: true, force: true });
});

const LAUNCHED = {
  CURFEW_ATTACH: 'auto',
  CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1',
  CURFEW_LIVEKIT_API_KEY: 'key',
  CURFEW_LIVEKIT_API_SECRET: 'secret',
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
  PYTHONPATH: join(ROOT, 'kits/python/launch'),
};
const KINDS = [
  ['an ES module', 'node', () => [process.execPath, join(dir, 'job.mjs')]],
  ['a CommonJS module', 'node', () => [process.execPath, join(dir, 'job.cjs')]],
  ['Python', 'python', () => ['python3', join(ROOT, 'test/fixtures/kits/launched/session.py')]],
] as const;

describe.each(KINDS)('the AgentSession of an agent in %s', (_kind, kit, program) => {
  const start = (env: Record<string, string>) => {
    const [command = '', file = ''] = program();
    return rig.start(command, file, { ...LAUNCHED, ...env });
  };
  const told = (server: KitServer) => server.received.filter(({ type }) => type !== 'heartbeat');

  it('is attached without a line of the agent, and its retried errors do not count', async () => {
    const server = await rig.listen(LATER_TYPES);
    const { out } = start({ MODE: 'plain' });
    // Race: where the session closes before the connection is there, its latest state alone is sent, and sent first.
    const later = () => told(server).filter((one) => one.type !== 'agent_session' || one.open !== 1);
    await until('it has closed', () => later().length >= 2);
    const closed = {
      type: 'agent_session',
      open: 0,
      closed: { reason: 'error', provider: 'made-up.LLM', message: expect.stringContaining('llm is down') },
    };
    expect(later()).toHaveLength(2);
    expect(later()).toEqual(expect.arrayContaining([{ type: 'activity', kind: 'caller_speech' }, closed]));
    // As without the launcher: Node throws an error event that has no listener.
    const fate = kit === 'node' ? 'nobody listens, so it is thrown\n' : '';
    expect([server.kits, out()]).toEqual([[`${kit}-launcher`], `started\n${fate}`]);
  });

  it('has one connection when the agent attaches itself, and the stricter rules of that', async () => {
    const server = await rig.listen(LATER_TYPES);
    start({ MODE: 'own' });
    await until('it has failed', () => receivedTypes(server).includes('failed'));
    // Race: the agent's own kit may take the place of the launcher before the launcher has connected.
    expect(server.kits.filter((one) => one !== `${kit}-launcher`)).toEqual([kit]);
    expect(server.kits.at(-1)).toBe(kit);
    expect(told(server)).toContainEqual(expect.objectContaining({ type: 'error', source: 'llm' }));
  });

  it('sends nothing that a supervisor of 0.1.0 refuses, and nothing with attach: off', async () => {
    const server = await rig.listen();
    start({ MODE: 'plain' });
    await until('activity', () => receivedTypes(server).includes('activity'));
    const { out } = start({ MODE: 'plain', CURFEW_ATTACH: 'off' });
    await until('it has started', () => out() !== '');
    expect([server.kits, receivedTypes(server).filter((type) => type === 'agent_session')]).toEqual([
      [`${kit}-launcher`],
      [],
    ]);
  });
});
