/** The set-up's one child: it gets each signal once, and its end is the set-up's. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { isAlive, killAll } from '../support/processes/test-processes.ts';

const FIXTURES = join(ROOT, 'test', 'fixtures', 'scripts');
const COUNTS = join(FIXTURES, 'counts-signals.mjs');

describe('the child of the set-up', () => {
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
      const pid = await until(
        'the child is up',
        () => Number(/^pid (\d+)$/m.exec(printed)?.[1] ?? 0) || null,
      );
      pids.push(pid);
      return pid;
    };
    return { parent, exited, childPid, printed: () => printed };
  }

  it.each([
    ['its exit code', 'exit 7', 7],
    ['128 and the number of the signal that ended it', 'kill -9 $$', 137],
  ])('ends as it: %s', async (_what, script, code) => {
    expect(await start(0, 'sh', '-c', script).exited).toBe(code);
  });

  it('gets one Ctrl-C once, although the terminal and npm both tell of it', async () => {
    const { parent, exited, childPid, printed } = start(0, process.execPath, COUNTS);
    await childPid();
    parent.kill('SIGINT');
    parent.kill('SIGTERM');
    parent.kill('SIGINT');
    expect(await exited).toBe(3);
    expect(printed()).toContain('interrupts: 1');
  });

  it('is asked to end when the set-up itself is killed', async () => {
    const { parent, childPid } = start(0, process.execPath, COUNTS);
    const pid = await childPid();
    parent.kill('SIGKILL');
    await until('the child is gone', () => !isAlive(pid));
  });

  it('takes what it left in its group along', async () => {
    const { exited, childPid } = start(0, 'sh', '-c', 'sleep 1000 & echo "pid $!"');
    const pid = await childPid();
    expect(await exited).toBe(0);
    await until('its child is gone', () => !isAlive(pid));
  });

  it('is ended when it takes too long', async () => {
    expect(await start(100, 'sleep', '1000').exited).toBe(143);
  });
});
