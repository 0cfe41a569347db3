/** The launchers: what they change, and that they change nothing else. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launchEnv } from '../../../src/adapters/livekit/standin/agent-env.ts';
import { ROOT } from '../../support/daemon/daemon.ts';
import { freePorts } from '../../support/lib/free-ports.ts';

const run = promisify(execFile);
const ACCESS = { url: 'ws://127.0.0.1:12345', apiKey: 'curfew-w-1', apiSecret: 'secret' };
let dir = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-launch-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function file(path: string, text: string): string {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
  return join(dir, path);
}

const environment = (env: Record<string, string> = {}) => {
  const own = { PATH: process.env.PATH ?? '', ...env };
  return { env: { ...own, ...launchEnv(own, ACCESS) } };
};
const python = (code: string, env: Record<string, string> = {}) =>
  run('python3', ['-c', code], environment({ PYTHONPATH: dir, ...env }));
const node = (code: string, env: Record<string, string> = {}) =>
  run(process.execPath, ['--input-type=module', '-e', code], environment(env));

describe('the environment of a LiveKit agent', () => {
  it('points to the stand-in as if it were LiveKit', () => {
    expect(launchEnv({}, ACCESS)).toMatchObject({
      LIVEKIT_URL: ACCESS.url,
      LIVEKIT_API_KEY: ACCESS.apiKey,
      LIVEKIT_API_SECRET: ACCESS.apiSecret,
    });
  });

  it('keeps the given PYTHONPATH and NODE_OPTIONS', () => {
    const { PYTHONPATH, NODE_OPTIONS } = launchEnv(
      { PYTHONPATH: '/a:/b', NODE_OPTIONS: '--max-old-space-size=300' },
      ACCESS,
    );
    expect(PYTHONPATH).toMatch(/kits\/python\/launch:\/a:\/b$/);
    expect(NODE_OPTIONS).toMatch(/^--max-old-space-size=300 --import=file:\/\/\S+\/launch\.mjs$/);
  });

  it('has no empty part in PYTHONPATH, which Python would read as the working folder', () => {
    expect(launchEnv({ PYTHONPATH: '' }, ACCESS).PYTHONPATH).toMatch(/launch$/);
  });
});

describe("Python's launcher", () => {
  const WORKER = 'livekit/agents/worker.py';
  const server = (fields: string) => `
class ProcPool:
    def __init__(self): self.idle = None
    def set_target_idle_processes(self, count): self.idle = count
    async def launch_job(self, info): return info
class ipc:
    class proc_pool: pass
ipc.proc_pool.ProcPool = ProcPool
class AgentServer:
    def __init__(self): ${fields}
    async def _update_job_status(self, process): pass
    async def _queue_msg(self, message): pass
    async def run(self, devmode=False): print(self._port, getattr(self, "_num_idle_processes", "as it was"), getattr(self, "_max_retry", ""))
`;
  const start =
    'import asyncio; from livekit.agents.worker import AgentServer; asyncio.run(AgentServer().run())';

  beforeEach(() => {
    for (const name of ['livekit/__init__.py', 'livekit/agents/__init__.py']) file(name, '');
  });

  it('sets any free port, one idle process and endless retries', async () => {
    file(
      WORKER,
      `__version__ = "1.2.3"${server('self._port = 8081; self._num_idle_processes = 4; self._load_threshold = 0.7; self._max_retry = 16')}`,
    );
    expect(await python(start)).toEqual({ stdout: '0 1 inf\n', stderr: '' });
    const job =
      'import asyncio; from livekit.agents.worker import ipc; pool = ipc.proc_pool.ProcPool(); print(asyncio.run(pool.launch_job(7)), pool.idle)';
    expect((await python(job)).stdout).toBe('7 0\n');
  });

  it('leaves the metrics of a worker in its own folder, whatever prometheus_multiproc_dir names', async () => {
    const fields =
      'self._port = 1; self._num_idle_processes = 4; self._load_threshold = 1; self._max_retry = 1; self._prometheus_multiproc_dir = "/shared"';
    const text = server(fields).replace(
      'print(self._port,',
      'print(self._prometheus_multiproc_dir); print(self._port,',
    );
    file(WORKER, `__version__ = "1.8.9"${text}`);
    const own = await python(start, { PROMETHEUS_MULTIPROC_DIR: '/own' });
    expect(own.stdout).toBe('/own\n0 1 inf\n');
    expect(own.stderr).toMatch(/^curfew: the metrics of this worker are in a folder of its own.*\/shared\n$/);
    expect(await python(start)).toEqual({ stdout: '/shared\n0 1 inf\n', stderr: '' });
  });

  it('sets the same in WorkerOptions of a version before 1.3', async () => {
    file(
      WORKER,
      `__version__ = "1.2.18"${server('pass').replace('class AgentServer', 'class Other')}
class Worker:
    async def _update_job_status(self, process): pass
    async def _queue_msg(self, message): pass
    def __init__(self, opts): print(opts.port, opts.num_idle_processes, opts.load_threshold, opts.max_retry)
`,
    );
    const { stdout, stderr } = await python(`
from types import SimpleNamespace
from livekit.agents.worker import Worker
Worker(SimpleNamespace(port=8081, num_idle_processes=4, load_threshold=0.7, max_retry=16))`);
    expect({ stdout, stderr }).toEqual({ stdout: '0 1 inf inf\n', stderr: '' });
  });

  const unexpected: [string, string, RegExp][] = [
    [
      'a version that is too old',
      `__version__ = "0.12.1"${server('self._port = 8081')}`,
      /version 0\.12\.1 is too old/,
    ],
    [
      'a server without these settings',
      `__version__ = "3.0.0"${server('self._port = 8081')}`,
      /3\.0\.0 has no _num_idle_processes, _load_threshold, _max_retry/,
    ],
  ];
  it.each(unexpected)('leaves %s unchanged and prints one line', async (_, text, why) => {
    file(WORKER, text);
    const { stdout, stderr } = await python(start);
    expect(stdout).toBe('8081 as it was \n');
    expect(stderr).toMatch(why);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain('tested with 1.8.9');
  });

  it('leaves another package of the same name unchanged', async () => {
    file(WORKER, 'print("hello")');
    const { stdout, stderr } = await python('import livekit.agents.worker');
    expect(stdout).toBe('hello\n');
    expect(stderr).toMatch(/^curfew: livekit-agents stays unchanged: server_settings: AttributeError.*\n$/);
  });

  it('passes an import error of the package on', async () => {
    file(WORKER, 'raise ImportError("no such voice")');
    const { stdout } = await python(
      'try:\n import livekit.agents.worker\nexcept ImportError as error:\n print(error)',
    );
    expect(stdout).toBe('no such voice\n');
  });

  it("says once that LiveKit Inference refuses curfew's keys", async () => {
    file('livekit/agents/inference/__init__.py', '');
    file(
      'livekit/agents/inference/_utils.py',
      'def create_access_token(api_key, api_secret): return api_key',
    );
    const code =
      'import os; from livekit.agents.inference._utils import create_access_token as make; key = os.environ["LIVEKIT_API_KEY"]; print(make(key, "s"), make(key, "s"), make("other", "s"))';
    const { stdout, stderr } = await python(code);
    expect(stdout).toBe('curfew-w-1 curfew-w-1 other\n');
    expect(stderr.match(/LIVEKIT_INFERENCE_API_KEY/g)).toHaveLength(1);
  });

  it('runs the other sitecustomize that its own one hides', async () => {
    file('sitecustomize.py', 'print("also here")');
    expect((await python('pass')).stdout).toBe('also here\n');
  });

  it('imports nothing in programs without livekit-agents', async () => {
    const code =
      'import sys; print(sorted(name for name in sys.modules if "importlib" in name or "livekit" in name))';
    const { stdout } = await run('python3', ['-I', '-c', code]);
    expect((await python(code, { PYTHONNOUSERSITE: '1' })).stdout).toBe(stdout);
  });
});

describe('the tried versions of the frameworks', () => {
  const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

  it('are the same in code, scripts and docs', () => {
    const javascript: string = JSON.parse(read('package.json')).devDependencies['@livekit/agents'];
    const installed = (name: string) => {
      const [, version = 'none'] =
        new RegExp(`'${name}==([^']+)'`).exec(read('scripts/python-agents.mjs')) ?? [];
      return version;
    };
    const python = installed('livekit-agents');
    for (const path of ['src/adapters/livekit/standin/agent-hub.ts', 'docs/reference/livekit-agents.md'])
      for (const version of [python, javascript]) expect(read(path), path).toContain(version);
    expect(read('kits/python/launch/curfew_launch/__init__.py')).toContain(`TESTED = "${python}"`);
    expect(read('kits/node/launch.mjs')).toContain(`@livekit/agents ${javascript}`);
    expect(read('examples/pipecat/README.md')).toContain(`pipecat-ai ${installed('pipecat-ai')})`);
  });
});

describe("Node's launcher", () => {
  const freePort = async () => {
    const [port = 0] = await freePorts(1);
    return port;
  };
  const listen = (port: number, handler: string) => `
import { createServer } from 'node:http';
${handler}
const server = createServer(handle).listen(${port}, '127.0.0.1', () => {
  console.log(server.address().port === ${port} ? 'as asked' : 'any');
  server.close();
});`;
  it("gives the framework's health server any free port", async () => {
    const health =
      "const handle = (req, res) => { const healthCheckListener = 1, workerListener = 2; res.end('/worker'); };";
    expect((await node(listen(await freePort(), health))).stdout).toBe('any\n');
  });

  it('leaves the ports of other servers unchanged', async () => {
    expect((await node(listen(await freePort(), 'const handle = (req, res) => res.end();'))).stdout).toBe(
      'as asked\n',
    );
  });

  it('changes the number of processors only for the count of idle processes', async () => {
    const code = `
import os, { availableParallelism } from 'node:os';
class Default { static numIdleProcesses() { return Math.min(availableParallelism(), 4); } }
console.log(Default.numIdleProcesses(), os.availableParallelism() === os.cpus().length);`;
    expect((await node(code)).stdout).toMatch(/^1 /);
  });

  it('lets the framework reconnect without a limit while curfew is away', async () => {
    const path = 'node_modules/@livekit/agents/dist/worker.js';
    const given = 'const MAX_RECONNECT_ATTEMPTS = 10;';
    expect(readFileSync(join(ROOT, path), 'utf8')).toContain(given);
    const module = file(path, `${given}\nexport default MAX_RECONNECT_ATTEMPTS;`);
    file('node_modules/@livekit/agents/package.json', '{"type":"module"}');
    expect((await node(`console.log((await import('${module}')).default)`)).stdout).toBe('Infinity\n');
  });

  it("says once that LiveKit Inference refuses curfew's keys", async () => {
    const code = `
const claims = Buffer.from(JSON.stringify({ iss: 'curfew-w-1', inference: { perform: true } })).toString('base64url');
const headers = { Authorization: 'Bearer x.' + claims + '.y' };
for (const init of [{ headers }, { headers: new Headers(headers) }]) await fetch('http://127.0.0.1:9/v1', init).catch(() => 0);`;
    expect((await node(code)).stderr.match(/LIVEKIT_INFERENCE_API_KEY/g)).toHaveLength(1);
  });

  it('changes nothing without the keys of curfew', async () => {
    const options = environment();
    const code = 'import net from "node:net"; console.log(net.Server.prototype.listen.name)';
    const env = { ...options.env, CURFEW_LIVEKIT_API_KEY: '' };
    expect((await run(process.execPath, ['--input-type=module', '-e', code], { env })).stdout).not.toContain(
      'Beside',
    );
    expect((await node(code)).stdout).toContain('Beside');
  });
});
