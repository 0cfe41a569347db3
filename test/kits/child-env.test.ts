/** LiveKit's real keys: the code of a program that imports the framework gets them, and its children only when it is an agent. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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
/** A module of settings comes before the framework, in the program or in a module that the program imports. */
const PY_SETTINGS = `
import os, subprocess, sys
KEY = os.environ["LIVEKIT_API_KEY"]
told = [sys.executable, "-I", "-c", "import os; print(os.environ['LIVEKIT_API_KEY'])"]
for how in (dict(os.environ), None):
    print("child", subprocess.run(told, env=how, capture_output=True, text=True).stdout.strip(), flush=True)
print("spawnve", flush=True)
os.spawnve(os.P_WAIT, told[0], told, dict(os.environ))
`;
const PY_EARLY = `
import config.settings
from config.settings import KEY
import sys, os
import aiohttp.client, aiohttp
aiohttp.ClientSession = aiohttp.client.ClientSession
from livekit import (
    agents,
)
from livekit.agents import worker
print("settings", KEY, "now", os.environ["LIVEKIT_API_KEY"], flush=True)
`;
const PY_WRAPPER = `
import config.settings
print("settings", config.settings.KEY)
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
/** Becomes another program, with the environment that the code names, or with its own. */
const JS_EXEC = `
import './node_modules/@livekit/agents/dist/worker.js';
const { env, execPath } = process;
const text = "console.log(process.env.LIVEKIT_API_KEY, process.env.CURFEW_REAL_LIVEKIT_API_KEY ?? 'None')";
console.log('code', env.LIVEKIT_API_KEY);
if (process.argv[2] === 'own') env.NODE_OPTIONS = '';
process.execve(execPath, [execPath, '-e', text], ...(process.argv[2] === 'own' ? [] : [{ ...env, NODE_OPTIONS: '' }]));
`;
const JS_SETTINGS = `
const { execFileSync } = require('node:child_process');
exports.key = process.env.LIVEKIT_API_KEY;
const env = { ...process.env, NODE_OPTIONS: '' };
console.log('child', execFileSync(process.execPath, ['-p', 'process.env.LIVEKIT_API_KEY'], { env }).toString().trim());
`;
const JS_EARLY = `
const settings = require('./settings.cjs');
require('@livekit/agents');
console.log('settings', settings.key, 'now', process.env.LIVEKIT_API_KEY);
`;
/** Reads the files of modules without Node, as the loader of tsx does. */
const JS_LOADER = `
const { readFileSync } = require('node:fs');
const { Module } = require('node:module');
for (const ending of ['.js', '.cjs'])
  Module._extensions[ending] = (module, path) => module._compile(readFileSync(path, 'utf8'), path);
`;
const JS_GRANTED = `
require('@livekit/agents');
import(${JSON.stringify(pathToFileURL(join(ROOT, 'kits/node/launch/access.mjs')).href)}).then(({ access }) => console.log(access.granted));
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
  write('livekit/agents/version.py', '__version__ = "1.9.9"\n');
  write('config/settings.py', PY_SETTINGS);
  write('early.py', PY_EARLY);
  write('main.py', 'from app.start import run\n');
  write('app/__init__.py', '');
  write('app/start.py', 'from . import agent\nrun = agent\n');
  write('app/agent.py', PY_EARLY);
  write('wrapper.py', PY_WRAPPER);
  // Installed into a venv: a console script, and a package that only sys.path leads to.
  write('venv/bin/voice', 'import re\nimport sys\nfrom voice_app.cli import main\nmain()\n');
  write('venv/bin/wrapper', 'import sys\nfrom voice_wrapper import main\nmain()\n');
  symlinkSync(
    execFileSync('python3', ['-c', 'import sys; print(sys.executable)']).toString().trim(),
    join(dir, 'venv/bin/python'),
  );
  write('site/voice_app/__init__.py', '');
  write('site/voice_app/cli.py', 'from voice_app.agent import early\ndef main(): pass\n');
  write('site/voice_app/agent.py', `${PY_EARLY}early = 1\n`);
  write(
    'site/voice_wrapper.py',
    'import config.settings\ndef main(): print("settings", config.settings.KEY)\n',
  );
  write('unknown/aiohttp/__init__.py', '');
  write('unknown/aiohttp/client.py', session);
  write('unknown/livekit/agents/__init__.py', '');
  write('unknown/livekit/agents/version.py', '__version__ = "2.0.0"\n');
  write('unknown/livekit/agents/worker.py', PY_WORKER.replace('self.ws_connect()', 'pass'));
  write('unknown/config/settings.py', PY_SETTINGS);
  write('unknown/early.py', PY_EARLY);
  write('package.json', '{"type":"module"}');
  write('node_modules/ws/package.json', '{"type":"module","main":"index.js"}');
  write('node_modules/ws/index.js', '');
  write('node_modules/@livekit/agents/package.json', '{"type":"module"}');
  write('node_modules/@livekit/agents/dist/worker.js', JS_WORKER);
  write('parent.mjs', JS_PARENT);
  write('exec.mjs', JS_EXEC);
  for (const [folder, worker] of [
    ['commonjs', 'require("ws"); exports.words = () => { new WebSocket("agent"); AccessToken(); };'],
    ['strange', 'exports.words = () => { new Connection("agent"); };'],
  ] as const) {
    const framework = `${folder}/node_modules/@livekit/agents`;
    write(`${framework}/package.json`, '{"main":"./dist/index.cjs"}');
    write(`${framework}/dist/index.cjs`, 'require("./worker.cjs");');
    write(`${framework}/dist/worker.cjs`, worker);
    write(`${folder}/settings.cjs`, JS_SETTINGS);
    write(`${folder}/early.cjs`, JS_EARLY);
    write(`${folder}/main.cjs`, 'require("./early.cjs");');
    write(`${folder}/loader.cjs`, JS_LOADER);
    write(`${folder}/granted.cjs`, JS_GRANTED);
    write(`${folder}/wrapper.cjs`, 'console.log("settings", require("./settings.cjs").key);');
  }
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

  const closed = ['child own-API_KEY', 'child own-API_KEY', 'spawnve', 'own-API_KEY'];
  it.each([
    ['early.py', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['-m early', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['main.py', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['-mapp.start', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['wrapper.py', [...closed, 'settings own-API_KEY']],
    ['unknown/early.py', [...closed, 'settings own-API_KEY now own-API_KEY']],
  ])('in Python from its first line, where its own files lead to a known framework: %s', (command, lines) => {
    const args = command.split(' ');
    const { stdout, stderr } = spawnSync('python3', args, { env: ENV, cwd: dir, encoding: 'utf8' });
    expect(stderr).not.toContain('Traceback');
    expect(stderr).not.toContain('early');
    expect(stdout.trim().split('\n')).toEqual(lines);
  });

  it.each([
    ['venv/bin/voice', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['-m voice_app.cli', [...closed, 'settings real-API_KEY now real-API_KEY']],
    ['venv/bin/wrapper', [...closed, 'settings own-API_KEY']],
  ])('in Python from its first line, where it is an installed package: %s', (command, lines) => {
    const { stdout, stderr } = spawnSync(join(dir, 'venv/bin/python'), command.split(' '), {
      env: { ...ENV, PYTHONPATH: [ENV.PYTHONPATH, join(dir, 'site'), dir].join(':') },
      cwd: dir,
      encoding: 'utf8',
    });
    expect(stderr).not.toMatch(/Traceback|early/);
    expect(stdout.trim().split('\n')).toEqual(lines);
  });

  it.each([
    ['commonjs/early.cjs', 'settings real-API_KEY now real-API_KEY'],
    ['commonjs/main.cjs', 'settings real-API_KEY now real-API_KEY'],
    ['commonjs/wrapper.cjs', 'settings own-API_KEY'],
    ['strange/early.cjs', 'settings own-API_KEY now own-API_KEY'],
  ])('in CommonJS from its first line, where its own files lead to a known framework: %s', (file, line) => {
    const { stdout, stderr } = spawnSync(process.execPath, [file], { env: ENV, cwd: dir, encoding: 'utf8' });
    expect(stderr).not.toContain('Error');
    expect(stdout.trim().split('\n')).toEqual(['child own-API_KEY', line]);
  });

  it.each([
    ['commonjs', 'full'],
    ['strange', 'room'],
  ])('in CommonJS also where a loader of TypeScript reads the files itself: %s', (folder, granted) => {
    const args = ['--require', `./${folder}/loader.cjs`, `${folder}/granted.cjs`];
    const { stdout, stderr } = spawnSync(process.execPath, args, { env: ENV, cwd: dir, encoding: 'utf8' });
    expect(stdout.trim(), stderr).toBe(granted);
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

  it.each(['own', 'named'])('in JavaScript that becomes another program with its %s environment', (env) => {
    const { stdout, stderr } = spawnSync(process.execPath, [join(dir, 'exec.mjs'), env], {
      env: ENV,
      encoding: 'utf8',
    });
    expect(stdout.trim().split('\n'), stderr).toEqual(['code real-API_KEY', 'own-API_KEY real-API_KEY']);
  });
});
