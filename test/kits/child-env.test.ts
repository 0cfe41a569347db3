/** LiveKit's real keys: the code of a program that imports the framework gets them, and its children only when it is an agent. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const NAMES = ['URL', 'API_KEY', 'API_SECRET'];
const variables = (prefix: string, value: string) =>
  Object.fromEntries(NAMES.map((name) => [`${prefix}LIVEKIT_${name}`, `${value}-${name}`]));
const OWN = { ...variables('', 'own'), ...variables('CURFEW_', 'own') };
const ENV = {
  ...OWN,
  ...variables('CURFEW_REAL_', 'real'),
  CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1',
  LIVEKIT_URL: 'ws://127.0.0.1:1',
  PATH: process.env.PATH ?? '',
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
  PYTHONPATH: join(ROOT, 'kits/python/launch'),
};

const PY_PARENT = `
import asyncio, json, os, subprocess, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import aiohttp.client, aiohttp
aiohttp.ClientSession = aiohttp.client.ClientSession
from livekit.agents import worker
told = [sys.executable, "-I", "-c", "import os; print(os.environ['LIVEKIT_API_KEY'], os.environ.get('CURFEW_REAL_LIVEKIT_API_KEY'))"]
kept = [sys.executable, sys.argv[0], "child"]
def say(what): print(what, flush=True)
def children(when):
    for how, env in (("none", None), ("copy", os.environ.copy()), ("more", {**os.environ, "X": "1"})):
        say(when + " " + how + " " + subprocess.run(told, env=env, capture_output=True, text=True).stdout.strip())
    say(when + " posix " + subprocess.run(told, close_fds=False, capture_output=True, text=True).stdout.strip())
say("code " + os.environ["LIVEKIT_API_KEY"] + " " + str(sorted(one for one in os.environ if "REAL" in one)))
if sys.argv[1:] == ["child"]: sys.exit()
children("before")
say("launched " + subprocess.run(kept, capture_output=True, text=True).stdout.strip())
asyncio.run(worker.AgentServer().run())
children("agent")
say("launched " + subprocess.run(kept, capture_output=True, text=True).stdout.strip())
if os.fork() == 0:
    os.execve(told[0], told, dict(os.environ))
os.wait()
`;
const PY_WORKER = `
import aiohttp
__version__ = "1.9.9"
class AgentServer:
    async def run(self): pass
    async def _connection_task(self): self.ws_connect()
`;
const JS_PARENT = `
import childProcess from 'node:child_process';
import http from 'node:http';
import './node_modules/@livekit/agents/dist/worker.js';
const { env } = process;
const text = "console.log(process.env.LIVEKIT_API_KEY, process.env.CURFEW_REAL_LIVEKIT_API_KEY ?? 'None')";
const clear = (more) => ({ ...env, NODE_OPTIONS: '', ...more });
const spawned = (options) => new Promise((done) => {
  const child = childProcess.spawn(process.execPath, ['-e', text], { ...options, stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (data) => { out += data; }).on('close', () => done(out.trim()));
});
async function children(when) {
  console.log(when, 'spawn', await spawned({ env: clear() }));
  console.log(when, 'sync', childProcess.execFileSync(process.execPath, ['-e', text], { env: clear({ X: '1' }) }).toString().trim());
  console.log(when, 'shell', childProcess.execSync('echo $LIVEKIT_API_KEY').toString().trim());
}
const kept = () => childProcess.execFileSync(process.execPath, [process.argv[1], 'child']).toString().trim();
console.log('code', env.LIVEKIT_API_KEY, Object.keys(env).filter((one) => one.includes('REAL')).length);
if (process.argv[2] !== 'child') {
  await children('before');
  console.log('launched', kept());
  const token = ['{}', '{"video":{"agent":true}}', 'x'].map((part) => Buffer.from(part).toString('base64url')).join('.');
  http.request({ path: '/agent', headers: { Authorization: 'Bearer ' + token } }).on('error', () => {}).end();
  await children('agent');
  console.log('launched', kept());
}
`;
const JS_WORKER = `import "ws"; export const words = () => { new WebSocket("agent"); AccessToken(); };`;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-child-env-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  for (const folder of ['aiohttp', 'livekit', 'livekit/agents']) write(`${folder}/__init__.py`, '');
  const session =
    'class ClientSession:\n    async def _request(self, method, url): pass\n    def ws_connect(self, url): pass\n';
  write('aiohttp/client.py', session);
  write('livekit/agents/worker.py', PY_WORKER);
  write('parent.py', PY_PARENT);
  write('package.json', '{"type":"module"}');
  write('node_modules/ws/package.json', '{"type":"module","main":"index.js"}');
  write('node_modules/ws/index.js', '');
  write('node_modules/@livekit/agents/package.json', '{"type":"module"}');
  write('node_modules/@livekit/agents/dist/worker.js', JS_WORKER);
  write('parent.mjs', JS_PARENT);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('a program that imports the framework has the real keys, and its children only when it is an agent', () => {
  it('in Python', () => {
    const { stdout, stderr } = spawnSync('python3', [join(dir, 'parent.py')], { env: ENV, encoding: 'utf8' });
    expect(stderr).not.toContain('Traceback');
    const child = 'own-API_KEY real-API_KEY';
    expect(stdout.trim().split('\n')).toEqual([
      'code real-API_KEY []',
      ...['none', 'copy', 'more', 'posix'].map((how) => `before ${how} ${child}`),
      'launched code real-API_KEY []',
      ...['none', 'copy', 'more', 'posix'].map((how) => `agent ${how} real-API_KEY None`),
      'launched code real-API_KEY []',
      'real-API_KEY None',
    ]);
  });

  it('in JavaScript', () => {
    const { stdout, stderr } = spawnSync(process.execPath, [join(dir, 'parent.mjs')], {
      env: ENV,
      encoding: 'utf8',
    });
    expect(stderr).not.toContain('Error');
    expect(stdout.trim().split('\n')).toEqual([
      'code real-API_KEY 0',
      'before spawn own-API_KEY real-API_KEY',
      'before sync own-API_KEY real-API_KEY',
      'before shell own-API_KEY',
      'launched code real-API_KEY 0',
      'agent spawn real-API_KEY None',
      'agent sync real-API_KEY None',
      'agent shell real-API_KEY',
      'launched code real-API_KEY 0',
    ]);
  });
});
