/** A server of the agent's own code with a fixed port, in the main processes of two calls. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const PYTHON = `
import multiprocessing, socket, sys
import livekit.agents.worker
def serve(port):
    try:
        server = socket.create_server(("127.0.0.1", port))
        return "same" if server.getsockname()[1] == port else "other"
    except OSError as error:
        return type(error).__name__
def job(): print("job", serve(int(sys.argv[1])), flush=True)
if __name__ == "__main__":
    print("main", serve(int(sys.argv[1])), flush=True)
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    child.join()
`;
const JAVASCRIPT = (framework: string) => `
import http from 'node:http';
import '${framework}';
const port = Number(process.argv[2]);
const serve = (...args) => new Promise((done) => {
  const server = http.createServer().once('error', ({ code }) => done(code));
  server.listen(...args, () => { done(server.address().port === port ? 'same' : 'other'); server.close(); });
});
console.log(await serve(port, '127.0.0.1'), await serve({ port, host: '127.0.0.1' }), await serve(0));
`;

let dir: string;
let holder: Server;
let port: string;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-own-port-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  };
  for (const module of ['__init__', 'worker'])
    write(`livekit/agents/${module}.py`, '__version__ = "1.9.9"\n');
  write('agent.py', PYTHON);
  write('node_modules/@livekit/agents/package.json', '{"main":"dist/index.cjs"}');
  for (const module of ['index', 'worker']) write(`node_modules/@livekit/agents/dist/${module}.cjs`, '"ws";');
  write('agent.mjs', JAVASCRIPT('@livekit/agents'));
  write('other.mjs', JAVASCRIPT('node:net'));
  holder = createServer();
  await new Promise<void>((done) => holder.listen(0, '127.0.0.1', done));
  port = String((holder.address() as { port: number }).port);
});
afterEach(() => {
  holder.close();
  rmSync(dir, { recursive: true, force: true });
});

const run = (command: string, file: string) =>
  spawnSync(command, [file, port], {
    cwd: dir,
    env: {
      PATH: process.env.PATH,
      CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1',
      CURFEW_LIVEKIT_API_KEY: 'key',
      CURFEW_LIVEKIT_API_SECRET: 'secret',
      PYTHONPATH: join(ROOT, 'kits/python/launch'),
      NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`,
    },
    encoding: 'utf8',
  });
const said = (text: string) =>
  text.split('\n').filter((line) => line.includes(`port ${port} is taken`)).length;

it('takes any free port in Python where the port is taken, and not in the process of a job', () => {
  const { stdout, stderr } = run('python3', 'agent.py');
  expect(stdout.trim().split('\n'), stderr).toEqual(['main other', 'job OSError']);
  expect(said(stderr)).toBe(1);
});

it.each([
  ['agent.mjs', 'other other other', 2],
  ['other.mjs', 'EADDRINUSE EADDRINUSE other', 0],
])('takes any free port in JavaScript where the port is taken and the program is an agent: %s', (file, out, lines) => {
  const { stdout, stderr } = run(process.execPath, file);
  expect(stdout.trim(), stderr).toBe(out);
  expect(said(stderr)).toBe(lines);
});
