/** The processes that a test started end with the test, also when the test is killed. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { keepChild } from '../support/processes/keeper.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';

const KEEPS_DAEMON = join(ROOT, 'test/fixtures/scripts/keeps-daemon.mjs');

const pids: number[] = [];
afterEach(() => killAll(pids.splice(0)));

/** Null: the first line is not complete yet. */
function firstLineOf(text: string): string | null {
  const [line = null] = /^.+(?=\n)/.exec(text) ?? [];
  return line;
}

/** Starts a program and waits for the first line of its output. */
async function start(command: string, ...args: string[]) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  pids.push(child.pid ?? -1);
  const line = await until('it is up', () => firstLineOf(printed), 30_000);
  return { child, line };
}

it('a group of processes ends with its keeper', async () => {
  const { child, line } = await start('sh', '-c', 'sleep 1000 & echo $!; wait');
  pids.push(Number(line));
  await keepChild(child, 'group').end();
  await until('both are gone', () => !pids.some(isAlive));
});

it('a supervisor, its workers and its folder are removed when their test is killed', async () => {
  const { child, line } = await start(process.execPath, KEEPS_DAEMON);
  const daemon = JSON.parse(line) as { dir: string; pid: number; instance: string };
  pids.push(daemon.pid, ...marked(daemon.instance).map((one) => one.pid));
  child.kill('SIGKILL');
  await until('no process is left', () => marked(daemon.instance).length === 0 && !isAlive(daemon.pid));
  await until('the folder is gone', () => !existsSync(daemon.dir));
  expect(pids.filter(isAlive)).toEqual([]);
});
