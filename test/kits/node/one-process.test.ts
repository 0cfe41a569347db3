/** A JavaScript job in its worker's one process: the framework and the agent notice as little of it as possible. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../../support/daemon/daemon.ts';

const IPC = 'node_modules/@livekit/agents/dist/ipc';
const LAUNCH = `
import { syncBuiltinESMExports } from 'node:module';
import { noteDials } from '${pathToFileURL(join(ROOT, 'kits/node/launch/dialled.mjs'))}';
import { runJobInMain } from '${pathToFileURL(join(ROOT, 'kits/node/launch/one-process.mjs'))}';
globalThis.fetch = async () => undefined;
runJobInMain();
noteDials();
syncBuiltinESMExports();
`;
/** As the framework's own one, as far as it matters here. */
const JOB = `
import { once } from 'node:events';
(async () => {
  if (!process.send) return;
  await import(process.argv[2]);
  const [{ value }] = await once(process, 'message');
  process.send({ case: 'ready', value: { pid: process.pid, argv: process.argv, given: value } });
  process.on('message', (message) => {
    if (message.case === 'dial') void fetch('http://x/twirp/livekit.SIP/CreateSIPParticipant');
    if (message.case === 'throw') throw new Error('broken');
    if (message.case !== 'end') return;
    process.send({ case: 'done' });
    process.exit(0);
  });
})();
`;
const MAIN = `
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
const say = (what) => console.log(JSON.stringify(what));
globalThis.runs = (globalThis.runs ?? 0) + 1;
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , job, ...messages] = process.argv;
  const child = fork(new URL(job, import.meta.url), [fileURLToPath(import.meta.url)]);
  child.on('message', (message) => {
    say(message);
    if (message.case === 'ready') for (const one of messages) child.send({ case: one });
  });
  child.on('exit', (code) => {
    say({ exit: code, own: child.pid === process.pid, runs: globalThis.runs, connected: child.connected });
    const idle = fork(new URL(job, import.meta.url), []);
    idle.on('message', (message) => say({ idle: message.case }));
    idle.on('exit', (code) => say({ idleExit: code }));
    for (const one of ['initializeRequest', 'pingRequest', 'shutdownRequest'])
      idle.send({ case: one, value: { timestamp: 1 } });
  });
  child.send({ case: 'initializeRequest', value: { at: new Date(0), lost: undefined } });
  if (messages.includes('kill')) setTimeout(() => child.kill('SIGKILL'), 200);
}
`;

let dir = '';
const write = (path: string, text: string) => {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
};

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-one-process-'));
  write('launch.mjs', LAUNCH);
  write('main.mjs', MAIN);
  write(`${IPC}/job_proc_lazy_main.js`, JOB);
  write(`${IPC.replace('ipc', 'unknown/@livekit/agents/dist/ipc')}/job_proc_lazy_main.js`, '// process.send');
  write('package.json', '{"type":"module"}');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function play(job: string, ...messages: string[]) {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [`--import=${pathToFileURL(join(dir, 'launch.mjs'))}`, join(dir, 'main.mjs'), job, ...messages],
    { encoding: 'utf8', timeout: 30_000, env: { PATH: process.env.PATH ?? '', CURFEW_ONE_PROCESS: '1' } },
  );
  const said = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { said, stderr, status };
}

it('the job and the framework talk as over a channel, and the end of the job leaves the worker alive', () => {
  const { said, status } = play(`${IPC}/job_proc_lazy_main.js`, 'end');
  const [ready, done, exit] = said;
  expect(ready).toMatchObject({ case: 'ready', value: { given: { at: '1970-01-01T00:00:00.000Z' } } });
  expect((ready?.value as { argv: string[] }).argv.slice(1)).toEqual([
    join(dir, IPC, 'job_proc_lazy_main.js'),
    join(dir, 'main.mjs'),
  ]);
  expect(done).toEqual({ case: 'done' });
  // The agent's file has run once.
  expect(exit).toEqual({ exit: 0, own: true, runs: 1, connected: false });
  expect(said.slice(3)).toEqual([
    { idle: 'initializeResponse' },
    { idle: 'pongResponse' },
    { idle: 'shutdownRequestAck' },
    { idle: 'shuttingDown' },
    { idleExit: 0 },
  ]);
  expect(status).toBe(0);
});

it('a job that dials tells the main process', () => {
  const { said } = play(`${IPC}/job_proc_lazy_main.js`, 'dial', 'end');
  expect(said).toContainEqual({ case: 'curfewDialled' });
});

it('a job that the framework kills, or that throws, ends its worker with 1', () => {
  const killed = play(`${IPC}/job_proc_lazy_main.js`, 'kill');
  expect(killed.status).toBe(1);
  expect(killed.stderr).toContain('the framework has killed the job');
  const thrown = play(`${IPC}/job_proc_lazy_main.js`, 'throw');
  expect(thrown.status).toBe(1);
  expect(thrown.stderr).toContain('Error: broken');
});

it('a version of the framework with another module keeps the process of its job, and the log says why', () => {
  const { said, stderr } = play(
    `${IPC.replace('ipc', 'unknown/@livekit/agents/dist/ipc')}/job_proc_lazy_main.js`,
  );
  expect(stderr).toContain('so the job has a process of its own');
  expect(said).toContainEqual(expect.objectContaining({ exit: 0, own: false }));
});
