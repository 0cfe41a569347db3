/** The inference process of a JavaScript agent's zygote, as its workers use it. The framework is made up, the processes are real. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT } from '../../support/daemon/daemon.ts';
import { until } from '../../support/lib/wait.ts';

const IPC = 'node_modules/@livekit/agents/dist/ipc';
const TOKEN = 'token-of-the-zygote';
const KEY = createHash('sha256').update(`inference:${TOKEN}`).digest('base64url');
/** As the framework's own one, as far as it matters here. The method `die` never answers. */
const INFERENCE = `
process.on('message', (message) => {
  if (message.case === 'initializeRequest') process.send({ case: 'initializeResponse' });
  if (message.case !== 'inferenceRequest') return;
  const { requestId, method, data } = message.value;
  if (method === 'die') process.exit(3);
  const error = method === 'fail' ? { message: 'no such method' } : undefined;
  process.send({ case: 'inferenceResponse', value: { requestId, data: { pid: process.pid, data }, error } });
});
`;
const MAIN = `
import { fork } from 'node:child_process';
import http from 'node:http';
const say = (what) => console.log(JSON.stringify(what));
const [, , runners, ...methods] = process.argv;
const child = fork(new URL('${IPC}/inference_proc_lazy_main.js', import.meta.url), [runners]);
child.on('message', (message) => {
  if (message.case !== 'initializeResponse') return say(message.value ?? message.case);
  say('ready');
  for (const method of methods)
    child.send({ case: 'inferenceRequest', value: { requestId: method, method, data: [1] } });
  const grant = Buffer.from('{"video":{"agent":true}}').toString('base64url');
  if (methods.length === 0)
    http.request({ path: '/agent', headers: { authorization: 'Bearer x.' + grant + '.x' } }).end();
});
child.on('exit', (code) => say({ exit: code }));
child.send({ case: 'initializeRequest', value: {} });
process.stdin.on('data', () => child.send({ case: 'shutdownRequest' }));
setInterval(() => undefined, 1000);
`;

let dir = '';
let control: Server;
let heard: { type: string }[] = [];
let sockets: Socket[] = [];
let children: ChildProcess[] = [];
let zygote = '';

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-shared-'));
  zygote = `i-${randomBytes(8).toString('hex')}/zygote-1.1`;
  heard = [];
  sockets = [];
  children = [];
  for (const [path, text] of [
    ['main.mjs', MAIN],
    [`${IPC}/inference_proc_lazy_main.js`, INFERENCE],
    ['package.json', '{"type":"module"}'],
  ] as const) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  control = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      const messages = `${data}`.trim().split('\n');
      for (const one of messages) {
        const message = JSON.parse(one) as { type: string };
        heard.push(message);
        if (message.type === 'hello') socket.write('{"type":"welcome"}\n');
      }
    });
  });
  await new Promise<void>((resolve) => void control.listen(join(dir, 'c.sock'), resolve));
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const socket of sockets) socket.destroy();
  control.close();
  rmSync(dir, { recursive: true, force: true });
});

function start(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [join(dir, 'main.mjs'), ...args], {
    env: {
      PATH: process.env.PATH ?? '',
      NODE_OPTIONS: `--import=${pathToFileURL(join(ROOT, 'kits/node/launch.mjs'))}`,
      CURFEW_LIVEKIT_URL: 'ws://127.0.0.1:1',
      CURFEW_LIVEKIT_API_KEY: 'own',
      CURFEW_LIVEKIT_API_SECRET: 'own',
      CURFEW_ONE_PROCESS: '1',
      ...env,
    },
  });
  children.push(child);
  const output = { said: [] as unknown[], errors: '', child };
  let rest = '';
  child.stdout.on('data', (data) => {
    const lines = `${rest}${data}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) output.said.push(JSON.parse(line));
  });
  child.stderr.on('data', (data) => {
    output.errors += `${data}`;
  });
  return output;
}

const startZygote = () =>
  start(
    {
      CURFEW_ZYGOTE: '1',
      CURFEW_WORKER: zygote,
      CURFEW_TOKEN: TOKEN,
      CURFEW_SOCKET: join(dir, 'c.sock'),
    },
    '{"a":"b"}',
  );
const startWorker = (runners: string, ...methods: string[]) =>
  start({ CURFEW_INFERENCE: zygote, CURFEW_INFERENCE_KEY: KEY }, runners, ...methods);
const pidOf = (said: unknown) => (said as { data: { pid: number } }).data.pid;
const isReady = () => heard.some(({ type }) => type === 'ready');

it('two workers have the answers of one inference process, and leave it alone when they end', async () => {
  const shared = startZygote();
  await until('the zygote is ready', isReady);
  const [one, two] = [startWorker('{"a":"b"}', 'ask', 'fail'), startWorker('{"a":"b"}', 'ask')];
  await until('both have answers', () => one.said.length === 3 && two.said.length === 2);
  expect(one.said[0]).toBe('ready');
  expect(one.said[1]).toMatchObject({ requestId: 'ask', data: { data: [1] } });
  expect(one.said[2]).toMatchObject({ requestId: 'fail', error: { message: 'no such method' } });
  expect(pidOf(one.said[1])).toBe(pidOf(two.said[1]));
  one.child.stdin?.write('end');
  await until('the first has left', () => one.said.length === 5);
  expect(one.said.slice(3)).toEqual(['done', { exit: 0 }]);
  const three = startWorker('{"a":"b"}', 'ask');
  await until('the third has its answer', () => three.said.length === 2);
  expect(pidOf(three.said[1])).toBe(pidOf(two.said[1]));
  expect([one.errors, two.errors, three.errors, shared.said]).toEqual(['', '', '', ['ready']]);
});

it('a worker whose shared process ends has one of its own, which answers what was open', async () => {
  const shared = startZygote();
  await until('the zygote is ready', isReady);
  const worker = startWorker('{"a":"b"}', 'ask');
  await until('it has an answer', () => worker.said.length === 2);
  const other = startWorker('{"a":"b"}', 'die');
  await until('the zygote has ended', () => shared.child.exitCode === 1);
  await until('both have failed over', () =>
    [worker, other].every(({ errors }) => errors.includes('of its own')),
  );
  // Its own process dies by the same request.
  await until('the request came again', () => other.said.length === 2);
  expect(other.said[1]).toEqual({ exit: 3 });
  expect(worker.said).toHaveLength(2);
});

it.each([
  ['other runners', '{"c":"d"}', KEY, 'it has other runners'],
  ['another key', '{"a":"b"}', 'wrong', 'the key is wrong'],
])('a worker with %s has an inference process of its own', async (_what, runners, key, why) => {
  startZygote();
  await until('the zygote is ready', isReady);
  const worker = start({ CURFEW_INFERENCE: zygote, CURFEW_INFERENCE_KEY: key }, runners, 'ask');
  await until('it has an answer', () => worker.said.length === 2);
  expect(worker.errors).toContain(why);
});

it('a zygote comes back to a supervisor that starts again', async () => {
  startZygote();
  await until('the zygote is ready', isReady);
  for (const socket of sockets) socket.destroy();
  await until('it is ready again', () => heard.filter(({ type }) => type === 'ready').length === 2);
});

it('a worker without its zygote starts, with an inference process of its own', async () => {
  const worker = startWorker('{"a":"b"}', 'ask');
  await until('it has an answer', () => worker.said.length === 2);
  expect(worker.said[1]).toMatchObject({ requestId: 'ask' });
});
