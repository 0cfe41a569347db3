/** A log that takes no line, as on a full disk, ends neither an agent nor its connection to curfew. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';

const kit = (file: string) => JSON.stringify(pathToFileURL(join(ROOT, 'kits/node', file)).href);
const bearer = `Bearer x.${Buffer.from('{"iss":"own","inference":{}}').toString('base64url')}.x`;

let dir: string;
let child: ChildProcess | undefined;
let server: Server | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-full-'));
});
afterEach(() => {
  child?.kill('SIGKILL');
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

function file(path: string, text: string): string {
  const full = join(dir, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

/** Standard error is full. Resolves with standard output and the exit code. */
async function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const full = openSync('/dev/full', 'w');
  const started = spawn(command, args, {
    stdio: ['ignore', 'pipe', full],
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C.UTF-8', ...env },
    timeout: 30_000,
  });
  closeSync(full);
  child = started;
  let text = '';
  started.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => started.once('close', resolve));
  return `${text.trim()} ${code}`;
}

/** A supervisor that asks each worker for its stacks. Returns the types of the messages that it got. */
async function askingForStacks(socketPath: string): Promise<string[]> {
  const heard: string[] = [];
  server = createServer((socket) => {
    const say = (message: object) => socket.write(`${JSON.stringify(message)}\n`);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      for (const line of chunk.toString().split('\n').filter(Boolean)) {
        const { type } = JSON.parse(line);
        heard.push(type);
        if (type === 'hello') say({ type: 'welcome', v: 1, heartbeatMs: 1000, job: null });
        if (type === 'hello') say({ type: 'dump' });
      }
    });
  });
  await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
  return heard;
}

it('a Python agent runs on when the launcher cannot write its line', async () => {
  file('livekit/__init__.py', '');
  file('livekit/agents/__init__.py', '');
  file('livekit/agents/telemetry/__init__.py', '');
  file(
    'livekit/agents/telemetry/http_server.py',
    'class HttpServer:\n    def __init__(self, host, port):\n        self.port = port\n',
  );
  const agent = file(
    'agent.py',
    'from livekit.agents.telemetry.http_server import HttpServer\nprint(HttpServer("h", 9090).port)\n',
  );
  expect(await run('python3', [agent], { PYTHONPATH: join(ROOT, 'kits/python/launch') })).toBe('0 0');
});

it('a JavaScript agent runs on when the launcher cannot write its line', async () => {
  const agent = file(
    'agent.mjs',
    `const headers = { Authorization: ${JSON.stringify(bearer)} };
await fetch('http://127.0.0.1:1/', { headers }).catch(() => console.log('refused'));
setTimeout(() => console.log('runs'), 50);`,
  );
  const own = { CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1', CURFEW_LIVEKIT_API_KEY: 'own' };
  const NODE_OPTIONS = `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs')).href}`;
  expect(await run(process.execPath, [agent], { ...own, NODE_OPTIONS })).toBe('refused\nruns 0');
});

it.each([
  [
    'Python',
    'python3',
    'agent.py',
    `import os, threading
from curfew_kit._wire import Wire
Wire(path=os.environ["CURFEW_SOCKET"], worker="w", token="t", heard=lambda _: None, alive=lambda _: None, loop=lambda: None).start()
threading.Event().wait(30)`,
  ],
  [
    'Node',
    process.execPath,
    'agent.mjs',
    `import { Worker } from 'node:worker_threads';
const workerData = { path: process.env.CURFEW_SOCKET, worker: 'w', token: 't' };
new Worker(new URL(${kit('wire.mjs')}), { workerData });`,
  ],
])('the connection of the kit for %s stays when its stacks cannot be written', async (_name, program, name, code) => {
  const path = join(dir, 'control.sock');
  const heard = await askingForStacks(path);
  const running = run(program, [file(name, code)], {
    CURFEW_SOCKET: path,
    PYTHONPATH: join(ROOT, 'kits/python'),
  });
  await until('the kit answers', () => heard.includes('dumped'));
  expect(heard.filter((one) => one === 'hello')).toHaveLength(1);
  child?.kill('SIGKILL');
  await running;
});
