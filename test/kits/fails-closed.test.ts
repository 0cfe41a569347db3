/** A launcher that cannot judge a framework leaves LiveKit's real keys to no process, and no registration to LiveKit. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const OWN = { URL: 'ws://127.0.0.1:1', API_KEY: 'own', API_SECRET: 'own-secret' };
const REAL = { URL: 'ws://real', API_KEY: 'real', API_SECRET: 'real-secret' };
const named = (prefix: string, values: object) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}LIVEKIT_${name}`, value]));
const CURFEW = {
  ...named('CURFEW_', OWN),
  PATH: process.env.PATH ?? '',
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
  PYTHONPATH: join(ROOT, 'kits/python/launch'),
};
/** The environment of an agent's child, and of an agent. */
const CHILD = { ...CURFEW, ...named('', REAL), CURFEW_ACCESS: 'full' };
const AGENT = { ...CURFEW, ...named('', OWN), ...named('CURFEW_REAL_', REAL) };

/** `_connection_task` is a callable without code of its own. */
const PY_WORKER = `
import functools
__version__ = "1.9.9"
class AgentServer:
    async def run(self): pass
    _connection_task = functools.partial(print)
`;
const PY_AGENT = `
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import aiohttp.client, aiohttp
aiohttp.ClientSession = aiohttp.client.ClientSession
from livekit.agents import worker
from curfew_launch import own
print(os.environ["LIVEKIT_API_KEY"], own.Access.granted, "no attribute '__code__'" in own.Access.why)
class Odd:
    def keys(self): raise RuntimeError("odd headers")
for url in ("wss://real/agent", "wss://speech/listen"):
    print(aiohttp.client.ClientSession().ws_connect(url, headers=Odd()))
`;
/** The source cannot be read by the launcher, whose hook runs between these two. */
const JS_HOOK = `
import { registerHooks } from 'node:module';
const url = 'file:///nonexistent/@livekit/agents/dist/worker.js';
registerHooks({
  resolve: (name, context, next) => (name.endsWith('/worker.js') ? { url, shortCircuit: true } : next(name, context)),
  load: (from, context, next) =>
    from === url ? { format: 'commonjs', source: null, shortCircuit: true } : next(from, context),
});
`;
const JS_AGENT = `
import { registerHooks } from 'node:module';
registerHooks({
  load: (from, context, next) => {
    const loaded = next(from, context);
    return from.startsWith('file:///nonexistent/') ? { format: 'module', source: '' } : loaded;
  },
});
await import('./worker.js');
console.log(process.env.LIVEKIT_API_KEY);
`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-closed-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  for (const folder of ['aiohttp', 'livekit', 'livekit/agents']) write(`${folder}/__init__.py`, '');
  write(
    'aiohttp/client.py',
    'class ClientSession:\n    async def _request(self, method, url): pass\n    def ws_connect(self, url, **_): return url\n',
  );
  write('livekit/agents/worker.py', PY_WORKER);
  write('agent.py', PY_AGENT);
  write('hook.mjs', JS_HOOK);
  write('agent.mjs', JS_AGENT);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.each([
  ['an agent', AGENT],
  ["an agent's child", CHILD],
] as const)('%s whose framework cannot be judged', (_who, env) => {
  it('keeps the own keys in Python and says why, and an unreadable registration goes to curfew', () => {
    const { stdout, stderr } = spawnSync('python3', [join(dir, 'agent.py')], { env, encoding: 'utf8' });
    expect(stdout.trim().split('\n'), stderr).toEqual([
      'own room True',
      'ws://127.0.0.1:1/agent',
      'wss://speech/listen',
    ]);
  });

  it('keeps the own keys in JavaScript', () => {
    const hook = `--import=${pathToFileURL(join(dir, 'hook.mjs')).href}`;
    const { stdout, stderr } = spawnSync(process.execPath, [join(dir, 'agent.mjs')], {
      env: { ...env, NODE_OPTIONS: `${hook} ${env.NODE_OPTIONS}` },
      encoding: 'utf8',
    });
    expect(stdout.trim(), stderr).toBe('own');
  });
});
