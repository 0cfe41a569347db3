/** The child of the set-up script. It receives each signal once, and the set-up ends with its exit code. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';

const FIXTURES = join(ROOT, 'test', 'fixtures', 'scripts');
const COUNTS = join(FIXTURES, 'counts-signals.mjs');

describe('the set-up script', () => {
  const parents: ChildProcess[] = [];

  const pids: number[] = [];

  afterEach(() => {
    for (const parent of parents.splice(0)) parent.kill('SIGKILL');
    killAll(pids.splice(0));
  });

  function start(boundMs: number, ...command: string[]) {
    const parent = spawn(process.execPath, [join(FIXTURES, 'parent.mjs'), String(boundMs), ...command], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    parents.push(parent);
    let printed = '';
    parent.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    const exited = new Promise<number | null>((resolve) => parent.once('close', (code) => resolve(code)));
    const childPid = async () => {
      const pid = await until('the child is up', () => {
        const [, digits = ''] = /^pid (\d+)$/m.exec(printed) ?? [];
        return Number(digits);
      });
      pids.push(pid);
      return pid;
    };
    return { parent, exited, childPid, printed: () => printed };
  }

  it.each([
    ['the exit code of the child', 'exit 7', 7],
    ['128 plus the number of the signal that ended the child', 'kill -9 $$', 137],
  ])('ends with %s', async (_what, script, code) => {
    expect(await start(0, 'sh', '-c', script).exited).toBe(code);
  });

  it('passes one Ctrl-C to its child once, although the terminal and npm both send it', async () => {
    const { parent, exited, childPid, printed } = start(0, process.execPath, COUNTS);
    await childPid();
    parent.kill('SIGINT');
    parent.kill('SIGTERM');
    parent.kill('SIGINT');
    expect(await exited).toBe(3);
    expect(printed()).toContain('interrupts: 1');
  });

  it('has its child ended when it is killed itself', async () => {
    const { parent, childPid } = start(0, process.execPath, COUNTS);
    const pid = await childPid();
    parent.kill('SIGKILL');
    await until('the child is gone', () => !isAlive(pid));
  });

  it("ends the rest of the child's group after the child", async () => {
    const { exited, childPid } = start(0, 'sh', '-c', 'sleep 1000 & echo "pid $!"');
    const pid = await childPid();
    expect(await exited).toBe(0);
    await until('its child is gone', () => !isAlive(pid));
  });

  it('ends a child that takes longer than its bound', async () => {
    expect(await start(100, 'sleep', '1000').exited).toBe(143);
  });
});
