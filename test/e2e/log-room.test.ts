/** The logs of ended workers never stop a call: on a small disk, and beside an agent that crashes again and again. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Daemon } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';

const MIB = 1024 * 1024;
/** A call whose id begins with `x` fails. */
const prints = (mib: number) => [
  'sh',
  '-c',
  `yes "$CURFEW_SESSION_ID prints a line" | head -c ${mib * MIB}; echo the end
   case "$CURFEW_SESSION_ID" in x*) exit 1;; esac`,
];
const DROPPED = /^--- curfew dropped \d+ bytes of this log: .* ---\n/;

let daemon: Daemon;
const undo: (() => void)[] = [];
afterEach(async () => {
  await daemon.close();
  for (const one of undo.splice(0).reverse()) one();
});

const pathOf = (id: string) => join(daemon.stateDir, 'workers', `${id}.1`, 'log');
const logOf = (id: string) => readFileSync(pathOf(id), 'latin1');
const sizeOf = (id: string) => statSync(pathOf(id)).size;
async function call(agent: string, id: string) {
  const answer = await daemon.dispatch({ room: id, id, agent });
  expect(answer.status).toBe(201);
  return daemon.ended(id);
}

/** Only root can mount a small disk. */
describe.runIf(process.getuid?.() === 0)('a state directory of 256 MB', () => {
  it('takes 60 calls that print 10 MB each, drops the oldest logs, and keeps the end of a failed one', async () => {
    const mounted = mkdtempSync(join(tmpdir(), 'curfew-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m', 'tmpfs', mounted]);
    undo.push(() => {
      execFileSync('umount', ['-l', mounted]);
      rmSync(mounted, { recursive: true, force: true });
    });
    const dir = join(mounted, 'd');
    mkdirSync(dir);
    const config = {
      limits: { start_rate: '1000/s', per_user: 'off' },
      agents: { default: { command: prints(10), replace: false } },
    };
    daemon = await new Daemon({ config, dir }).start();
    await call('default', 'x');
    for (let round = 0; round < 15; round += 1) {
      const ids = Array.from({ length: 4 }, (_, index) => `c${round}-${index}`);
      for (const ended of await Promise.all(ids.map((id) => call('default', id))))
        expect(ended).toMatchObject({ state: 'released', reason: 'completed' });
    }
    expect(logOf('c0-0')).toMatch(DROPPED);
    expect(logOf('c0-0')).toContain('the disk of the state directory was almost full');
    expect(logOf('c14-0').slice(-8)).toBe('the end\n');
    const failed = logOf('x');
    expect(failed).toMatch(DROPPED);
    expect(failed.length).toBeGreaterThan(60_000);
    expect(failed.slice(-8)).toBe('the end\n');
    expect((await daemon.get('/readyz')).status).toBe(200);
    expect(daemon.stderr + daemon.stdout).toContain('logs of ended workers were dropped');
  });
});

describe('an agent that crashes again and again', () => {
  it('evicts no log of another agent, also after a restart, and the total stays within its bound', async () => {
    const config = {
      limits: { start_rate: '1000/s', per_user: 'off' },
      retention: { logs_total: '8MiB' },
      agents: { default: { command: prints(1) }, loops: { command: prints(1), replace: false } },
    };
    daemon = await new Daemon({ config }).start();
    await Promise.all(['a', 'b', 'c'].map((id) => call('default', id)));
    const loops = Array.from({ length: 12 }, (_, index) => `x${index}`);
    for (const id of loops.slice(0, 6)) await call('loops', id);
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    for (const id of loops.slice(6)) await call('loops', id);
    await until('the total is within its bound', () => {
      const all = ['a', 'b', 'c', ...loops].reduce((sum, id) => sum + sizeOf(id), 0);
      return all <= 8 * MIB;
    });
    for (const id of ['a', 'b', 'c']) expect(sizeOf(id)).toBeGreaterThan(MIB);
    expect(logOf('x0')).toMatch(DROPPED);
    expect(logOf('x0').slice(-8)).toBe('the end\n');
    expect(sizeOf('x11')).toBeGreaterThan(MIB);
  });
});
