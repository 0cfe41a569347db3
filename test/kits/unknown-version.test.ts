/** A launcher never breaks an agent: frameworks of an unknown version, whose names and signatures differ, run as without it. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

/** Each module that the launcher adapts, with other arguments, kinds and attributes than the tested version has. */
const PYTHON: Readonly<Record<string, string>> = {
  'aiohttp/client.py': `
class ClientSession:
    async def _request(self, *, verb, target):
        return "requested " + verb + target
    async def ws_connect(self, *, target):
        return "connected " + target
`,
  'livekit/agents/inference/_utils.py': 'def create_access_token(*, key):\n    return "token of " + key\n',
  'livekit/api/twirp_client.py': `
class TwirpClient:
    async def request(self, *, call):
        return "called " + call
`,
  'livekit/agents/ipc/proc_pool.py':
    'class ProcPool:\n    def launch_job(self):\n        return "launched"\n',
  'livekit/agents/worker.py': `
from livekit.agents.ipc import proc_pool
from types import SimpleNamespace
ipc = SimpleNamespace(proc_pool=proc_pool)
__version__ = "9.0"
class AgentServer:
    __slots__ = ("state",)
    def run(self, mode):
        return "ran " + mode
`,
  'livekit/agents/telemetry/http_server.py': `
class HttpServer:
    def __init__(self, *, port):
        self.port = port
`,
  'livekit/agents/ipc/job_proc_executor.py': `
class ProcJobExecutor:
    async def aclose(self, *, reason):
        return "closed " + reason
`,
  'livekit/agents/ipc/job_proc_lazy_main.py': `
def proc_main(*, info):
    print("process", info)
def thread_main(info, more):
    print("thread", info, more)
`,
  'livekit/agents/voice/agent_session.py':
    'class AgentSession:\n    def start(self):\n        return "started"\n',
  'livekit/agents/voice/generation.py': 'def _execute_tools_task(one):\n    return "tools " + one\n',
  'curfew_kit/_kit.py':
    'class Curfew:\n    def __init__(self, *, how):\n        print("connected by", how)\n',
};
const PYTHON_AGENT = `
import asyncio, sys, os
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import aiohttp.client as client
from livekit.agents.inference import _utils
from livekit.api import twirp_client
from livekit.agents import worker
from livekit.agents.telemetry import http_server
from livekit.agents.ipc import job_proc_executor, job_proc_lazy_main
from livekit.agents.voice import agent_session, generation
from curfew_kit import _kit
async def main():
    one = client.ClientSession()
    print(await one._request(verb="GET", target="/x"))
    print(await one.ws_connect(target="/agent"))
    print(_utils.create_access_token(key="k"))
    print(await twirp_client.TwirpClient().request(call="CreateSIPParticipant"))
    print(worker.ipc.proc_pool.ProcPool().launch_job(), worker.AgentServer().run("start"))
    print(isinstance(http_server.HttpServer(port=8081).port, int))
    print(await job_proc_executor.ProcJobExecutor().aclose(reason="done"))
    job_proc_lazy_main.proc_main(info="one")
    job_proc_lazy_main.thread_main("one", "more")
    print(agent_session.AgentSession().start(), generation._execute_tools_task("one"))
    _kit.Curfew(how="hand")
asyncio.run(main())
`;

const NODE: Readonly<Record<string, string>> = {
  'worker.js': 'export class AgentServer { run(mode) { return "ran " + mode; } }',
  'ipc/job_proc_lazy_main.js': 'export async function main(entry) { return entry.call(null, "ctx"); }',
  'voice/agent_session.js': 'class AgentSession { begin() { return "began"; } }\nexport { AgentSession };',
  'voice/generation.js': 'export function performTools(one) { return "tools " + one; }',
};
const NODE_AGENT = `
import os from 'node:os';
import { AgentServer } from './node_modules/@livekit/agents/dist/worker.js';
import { main } from './node_modules/@livekit/agents/dist/ipc/job_proc_lazy_main.js';
import { AgentSession } from './node_modules/@livekit/agents/dist/voice/agent_session.js';
import { performTools } from './node_modules/@livekit/agents/dist/voice/generation.js';
Error.prepareStackTrace = () => ({});
console.log(new AgentServer().run('start'), os.availableParallelism() > 0);
await main(async () => { throw new Error('raised'); }).catch((error) => console.log(error.message));
console.log(new AgentSession().begin(), performTools('one'));
`;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-unknown-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
}

const LAUNCHED = {
  CURFEW_ATTACH: 'auto',
  CURFEW_SOCKET: '/nonexistent.sock',
  CURFEW_WORKER: 'i/s-1.1',
  CURFEW_TOKEN: 'token',
  CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1',
  CURFEW_LIVEKIT_API_KEY: 'key',
  CURFEW_LIVEKIT_API_SECRET: 'secret',
  CURFEW_REAL_LIVEKIT_URL: 'ws://real',
  CURFEW_REAL_LIVEKIT_API_KEY: 'real',
  CURFEW_REAL_LIVEKIT_API_SECRET: 'real-secret',
  NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
  PYTHONPATH: join(ROOT, 'kits/python/launch'),
};

function run(command: string, file: string, env: Record<string, string> = {}) {
  const all = { PATH: process.env.PATH ?? '', ...env };
  return spawnSync(command, [join(dir, file)], { env: all, encoding: 'utf8', timeout: 60_000 });
}

describe('an agent whose framework has other names and signatures', () => {
  it('in Python runs as without the launcher, and one line for each lost part is in its log', () => {
    for (const [path, text] of Object.entries(PYTHON)) {
      write(path, text);
      for (let at = dirname(path); at !== '.'; at = dirname(at)) write(join(at, '__init__.py'), '');
    }
    write('agent.py', PYTHON_AGENT);
    const plain = run('python3', 'agent.py');
    expect(plain.stderr).toBe('');
    const launched = run('python3', 'agent.py', LAUNCHED);
    expect(launched.stderr).not.toContain('Traceback');
    expect([launched.status, launched.stdout]).toEqual([0, plain.stdout]);
    const lost = [...launched.stderr.matchAll(/^curfew: livekit-agents stays unchanged: (\w+): /gm)];
    const parts = lost.map(([, part]) => part);
    expect(parts.sort()).toEqual(['auto_attach', 'close_bound', 'job_end', 'server_settings', 'tool_runs']);
  });

  it('in JavaScript runs as without the launcher, and one line for each lost part is in its log', () => {
    write('package.json', '{"type":"module"}');
    write('node_modules/@livekit/agents/package.json', '{"type":"module"}');
    for (const [path, text] of Object.entries(NODE)) write(`node_modules/@livekit/agents/dist/${path}`, text);
    write('agent.mjs', NODE_AGENT);
    const plain = run(process.execPath, 'agent.mjs');
    expect(plain.stderr).toBe('');
    const launched = run(process.execPath, 'agent.mjs', LAUNCHED);
    expect([launched.status, launched.stdout]).toEqual([0, plain.stdout]);
    const said = launched.stderr.split('\n').filter((line) => line.startsWith('curfew: '));
    for (const lost of ['unchanged: entry-errors', 'attach: off', 'attach: running tools do not count'])
      expect(
        said.filter((line) => line.includes(lost)),
        launched.stderr,
      ).toHaveLength(1);
  });
});
