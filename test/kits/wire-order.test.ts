/** The threads of the kits: no repeated state is older than the latest one, and an answered ping is no blocked event loop. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';

const WIRE = pathToFileURL(join(ROOT, 'kits/node/wire.mjs')).href;
/** Each line of standard input is one state, or a text that fills the socket. */
const NODE = `
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
const workerData = { path: process.env.CURFEW_SOCKET, worker: 'w', token: 't' };
const wire = new Worker(new URL(${JSON.stringify(WIRE)}), { workerData });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'fill') wire.postMessage({ say: { type: 'error', message: 'x'.repeat(4_000_000) } });
  else if (line === 'end') wire.postMessage({ say: { type: 'error', message: 'end' } });
  else wire.postMessage({ state: { type: 'agent_session', open: Number(line) }, repeats: true });
  console.log(line);
}
`;
const PYTHON = `
import os, sys
from curfew_kit._wire import Wire
wire = Wire(path=os.environ["CURFEW_SOCKET"], worker="w", token="t", heard=lambda _: None, alive=lambda _: None, loop=lambda: None)
wire.start()
for line in sys.stdin:
    if line.strip() in ("fill", "end"):
        wire.say({"type": "error", "message": "end" if line.strip() == "end" else "x" * 4_000_000})
    else:
        wire.state({"type": "agent_session", "open": int(line)})
    print(line.strip(), flush=True)
`;
const PYTHON_AT_LIMIT = `
import os, sys, threading
from curfew_kit._wire import Wire
start, refused = threading.Thread.start, []
def start_or_refuse(self):
    if self.name == "curfew-beat" and not refused:
        refused.append(True)
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = start_or_refuse
Wire(path=os.environ["CURFEW_SOCKET"], worker="w", token="t", heard=lambda _: None, alive=lambda _: None, loop=lambda: None).start()
sys.stdin.read()
`;
const KIT = pathToFileURL(join(ROOT, 'kits/node/curfew.mjs')).href;
const FAILS_AT_ONCE = `
import { serve } from ${JSON.stringify(KIT)};
process.env.CURFEW_SESSION_ID = 's';
process.exit = () => curfew.error('end');
const curfew = serve(async () => {
  throw new Error('no model');
});
`;
const WATCHED = `
import { Worker } from 'node:worker_threads';
const workerData = {
  path: '/nonexistent.sock', worker: 'w', token: 't',
  watches: { everyMs: 100, blockedMs: 500, secondChanceMs: 50 },
};
const wire = new Worker(new URL(${JSON.stringify(WIRE)}), { workerData });
wire.on('message', ({ ping }) => setTimeout(() => wire.postMessage({ pong: ping }), 300));
setTimeout(() => {
  console.log('answered');
  const untilMs = Date.now() + 1500;
  while (Date.now() < untilMs);
  process.exit();
}, 1500);
`;

let dir: string;
let child: ChildProcess | undefined;
let server: Server | undefined;
let sockets: Socket[];
const output = { out: '', err: '' };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-wire-'));
  sockets = [];
  Object.assign(output, { out: '', err: '' });
});
afterEach(() => {
  child?.kill('SIGKILL');
  for (const socket of sockets) socket.destroy();
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

function start(command: string, file: string, text: string): ChildProcess {
  writeFileSync(join(dir, file), text);
  const env = {
    PATH: process.env.PATH ?? '',
    PYTHONPATH: join(ROOT, 'kits/python'),
    CURFEW_SOCKET: join(dir, 'c.sock'),
    CURFEW_WORKER: 'w',
    CURFEW_TOKEN: 't',
  };
  const started = spawn(command, [join(dir, file)], { env });
  started.stdout.on('data', (chunk: Buffer) => {
    output.out += chunk;
  });
  started.stderr.on('data', (chunk: Buffer) => {
    output.err += chunk;
  });
  child = started;
  return started;
}

/** Neither answers a hello nor reads on after it. */
function listen(): Server {
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.pause();
      sockets.push(socket);
    });
  });
  return server.listen(join(dir, 'c.sock'));
}

const WELCOME = `${JSON.stringify({ type: 'welcome', v: 1, heartbeatMs: 100_000, accepts: ['agent_session'] })}\n`;

/** Reads on, and collects the messages. */
function collect(socket: Socket | undefined): { type: string; open?: number; message?: string }[] {
  const all: { type: string }[] = [];
  let rest = '';
  socket?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    all.push(...lines.filter((line) => line !== '').map((line) => JSON.parse(line)));
  });
  socket?.resume();
  socket?.write(WELCOME);
  return all;
}

describe.each([
  ['Node', process.execPath, 'agent.mjs', NODE],
  ['Python', 'python3', 'agent.py', PYTHON],
] as const)('a connection of the kit for %s', (_kit, command, file, text) => {
  it('tells the latest state alone, also if an older one still waits after a reconnect', async () => {
    listen();
    const { stdin } = start(command, file, text);
    const say = async (line: string) => {
      stdin?.write(`${line}\n`);
      await until(`the agent has sent ${line}`, () => output.out.trim().split('\n').at(-1) === line);
      // The thread has its own queue of the agent's messages. A late one would hide a fault, and shows none that is not there.
      await pause(200);
    };
    await until('the first hello', () => sockets.length === 1);
    const first = collect(sockets[0]);
    await say('1');
    await until('the first state', () => first.some(({ open }) => open === 1));
    sockets[0]?.pause();
    await say('fill');
    await say('2');
    sockets[0]?.destroy();
    await until('the second hello', () => sockets.length === 2);
    await say('0');
    const second = collect(sockets[1]);
    await say('end');
    await until('everything has arrived', () => second.some(({ message }) => message === 'end'));
    expect(second.filter(({ type }) => type === 'agent_session').map(({ open }) => open)).toEqual([0]);
  });
});

it('a Python kit connects again after its host could start no thread for it', async () => {
  listen();
  start('python3', 'agent.py', PYTHON_AT_LIMIT);
  await until('the first hello', () => sockets.length === 1);
  collect(sockets[0]);
  await until('the second hello', () => sockets.length === 2);
});

it('a JavaScript job that fails at once does not count as ready', async () => {
  listen();
  start(process.execPath, 'agent.mjs', FAILS_AT_ONCE);
  await until('the first hello', () => sockets.length === 1);
  const heard = collect(sockets[0]);
  await until('everything has arrived', () => heard.some(({ message }) => message === 'end'));
  expect(heard.map(({ type }) => type)).toEqual(['error']);
});

describe('the watch of the event loop', () => {
  it('takes no answered ping for one that waits, and names a loop that is blocked', async () => {
    const started = start(process.execPath, 'agent.mjs', WATCHED);
    await until('all pings were answered', () => output.out.includes('answered'));
    expect(output.err).toBe('');
    await until('it has ended', () => started.exitCode !== null);
    expect(output.err.match(/is blocked/g)).toHaveLength(1);
  });
});
