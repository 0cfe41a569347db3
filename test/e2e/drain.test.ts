/** During a drain the supervisor takes nothing new, waits for its calls, and stops. The audit file names each action of a person. */
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CapacityView } from '../../src/api/host-schemas.ts';
import { Daemon, MAIN } from '../support/daemon/daemon.ts';
import { until } from '../support/lib/wait.ts';
import { marked } from '../support/processes/marked-processes.ts';
import { isAlive } from '../support/processes/test-processes.ts';

let daemon: Daemon;
beforeEach(async () => {
  daemon = await new Daemon({
    config: {
      limits: { start_rate: '1000/s', sessions: 2 },
      agents: { default: { command: ['sleep', '1000'] } },
    },
  }).start();
});
afterEach(() => daemon.close());

const run = promisify(execFile);
const curfew = (...args: string[]) => run(process.execPath, [MAIN, '--config', daemon.configPath, ...args]);
const live = async (room: string) => daemon.reaches((await daemon.dispatch({ room })).body.id, ['live']);
const capacity = async () => (await daemon.get<CapacityView>('/v1/capacity')).body;

interface Line {
  readonly action: string;
  readonly [key: string]: unknown;
}

function audit(): Line[] {
  const text = readFileSync(join(daemon.dir, 'state', 'audit.log'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

describe('a drain', () => {
  it('a drain takes nothing new, waits for the calls, then the supervisor exits with 0', async () => {
    const { id } = await live('a');
    const drained = curfew('drain');
    await until('the supervisor drains', async () => (await capacity()).draining);
    expect(await capacity()).toMatchObject({ accepting: false, draining: { open: 1, leftMs: null } });
    expect(await daemon.dispatch({ room: 'b' })).toMatchObject({ status: 503, body: { code: 'draining' } });
    expect((await daemon.get('/readyz')).status).toBe(503);
    expect((await daemon.session(id)).state).toBe('live');
    await daemon.release(id);
    expect((await drained).stdout).toContain('drained: the supervisor has stopped');
    expect(await daemon.exited()).toBe(0);
    await daemon.start();
    expect(await capacity()).toMatchObject({ accepting: true, draining: null });
  });

  it('a drain survives a crash of the supervisor, and undrain ends it', async () => {
    const { id, pid } = await live('a');
    await curfew('drain', '--no-wait');
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect((await capacity()).draining).toMatchObject({ open: 1 });
    expect((await daemon.dispatch({ room: 'b' })).status).toBe(503);
    await curfew('undrain');
    await curfew('undrain');
    expect(audit().filter((one) => one.action === 'undrain')).toHaveLength(1);
    expect((await daemon.dispatch({ room: 'b' })).status).toBe(201);
    expect(await daemon.reaches(id, ['live'])).toMatchObject({ pid });
  });

  it('a draining supervisor still answers a repeated dispatch of a session that it has', async () => {
    const { id } = (await daemon.dispatch({ room: 'a', id: 'mine' })).body;
    await curfew('drain', '--no-wait');
    expect(await daemon.dispatch({ room: 'a', id: 'mine' })).toMatchObject({ status: 200, body: { id } });
    expect(await daemon.dispatch({ room: 'a', id: 'other' })).toMatchObject({ status: 503 });
  });

  it('the drain command keeps waiting through a crash of the supervisor', async () => {
    const { id } = await live('a');
    const drained = curfew('--json', 'drain');
    let printed = '';
    drained.child.stderr?.on('data', (chunk: string) => {
      printed += chunk;
    });
    await until('the command says that it waits', () => printed.includes('1 session left'));
    daemon.signal('SIGKILL');
    await daemon.exited();
    await daemon.start();
    expect((await capacity()).draining).toMatchObject({ open: 1 });
    await daemon.release(id);
    expect(await daemon.exited()).toBe(0);
    expect(JSON.parse((await drained).stdout)).toMatchObject({ drained: true });
  });

  it('SIGUSR1 starts a drain, and its timeout releases the sessions that are left', async () => {
    const { id, pid } = await live('a');
    daemon.signal('SIGUSR1');
    await until('the supervisor drains', async () => (await capacity()).draining);
    expect((await daemon.session(id)).state).toBe('live');
    await curfew('drain', '--timeout', '1s', '--no-wait');
    expect(await daemon.exited()).toBe(0);
    expect(isAlive(pid ?? 0)).toBe(false);
    await daemon.start();
    expect(await daemon.session(id)).toMatchObject({ state: 'released', reason: 'shutdown' });
    expect(marked(daemon.instanceId())).toEqual([]);
  });
});

describe('the audit file', () => {
  it('the audit file has the signal that stopped the supervisor, with the calls that it ended', async () => {
    const { id, pid } = await live('a');
    await daemon.stop();
    expect(audit()).toMatchObject([
      {
        action: 'stop',
        actor: 'SIGTERM',
        source: 'signal',
        request: { ending: 'release' },
        targets: [{ session: id, pid, startTicks: expect.any(Number) }],
      },
    ]);
  });

  it('the audit file has each change by a person with targets and outcome, also without a supervisor', async () => {
    const { id, pid } = await live('a');
    await curfew('release', id);
    await daemon.ended(id);
    await curfew('release', 'no-such-session').catch(() => undefined);
    await curfew('cleanup', '--yes');
    await curfew('cleanup');
    await curfew('drain', '--no-wait');
    expect(await daemon.exited()).toBe(0);
    await curfew('cleanup', '--yes');
    expect(audit()).toMatchObject([
      {
        action: 'release',
        source: 'socket',
        verified: false,
        outcome: 'done',
        targets: [{ session: id, pid, startTicks: expect.any(Number), bootId: expect.any(String) }],
      },
      { action: 'release', outcome: 'refused', error: expect.stringContaining('not_found') },
      { action: 'cleanup', source: 'socket', outcome: 'done', targets: [] },
      { action: 'drain', outcome: 'done' },
      { action: 'cleanup', source: 'cli', outcome: 'done' },
    ]);
    expect(audit().every((one) => typeof one.actor === 'string' && one.actor !== '')).toBe(true);
    expect(statSync(join(daemon.dir, 'state', 'audit.log')).mode & 0o777).toBe(0o600);
  });
});
